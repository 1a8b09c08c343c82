"""One study a pair of domains, in folders of one workdir, and a page over all."""

import json
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from experiments.shift.settings import check_pairs
from experiments.workdir import check_workdir
from tl_jax import distribute
from tl_jax.checkpoint import write_atomic

RECORD = "pairs.json"
"""What tells a workdir of pairs."""
Study = Callable[[ConfigDict, Path, list[str], Callable[[], bool]], None]


def folder_of(source: str, target: str) -> str:
    """The folder of a pair in the workdir."""
    return "-to-".join(_plain(name) for name in (source, target))


def _plain(name: str) -> str:
    """A domain as a part of a folder's name: of paths their last part alone."""
    kind, colon, path = name.partition(":")
    if colon:
        return f"{kind}_{Path(path).name}"
    short = Path(name).stem if Path(name).suffix else name
    return short.strip("/").replace("/", "_")


def of_pair(config: ConfigDict, source: str, target: str) -> ConfigDict:
    """The config of one pair's study."""
    own = config.copy_and_resolve_references()
    own.data.source, own.shift.target, own.shift.pairs = source, target, ()
    own.name = f"{config.name}: {source} to {target}"
    return own


def every_pair(
    config: ConfigDict,
    workdir: Path,
    command: list[str],
    stop: Callable[[], bool],
    study: Study,
) -> None:
    """Run the study of each pair; after each, the page over all of them.

    Everything that can be wrong with a pair's config is found before the first runs.
    """
    from experiments import report
    from experiments.settings import check

    check_pairs(config.shift.pairs)
    check_workdir(config, workdir, RECORD)
    pairs = [tuple(pair) for pair in config.shift.pairs]
    folders = [folder_of(*pair) for pair in pairs]
    if len({*folders}) < len(folders):
        raise ValueError(
            f"config.shift.pairs: two pairs have one folder, {sorted(folders)[0]!r}"
        )
    configs = [of_pair(config, *pair) for pair in pairs]
    for own in configs:
        check(own)
    if distribute.is_first():
        info = {
            "name": config.name,
            "command": command,
            "asked": json.loads(config.to_json_best_effort()),
            "pairs": [[*p, folder] for p, folder in zip(pairs, folders, strict=True)],
        }
        workdir.mkdir(parents=True, exist_ok=True)
        write_atomic(workdir / RECORD, json.dumps(info, indent=1) + "\n")
    for own, folder in zip(configs, folders, strict=True):
        study(own, workdir / folder, command, stop)
        if distribute.is_first():
            page = report.build(workdir)
    if distribute.is_first():
        Console(stderr=True, highlight=False).print(f"all pairs: {page}")
