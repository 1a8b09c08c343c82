"""A study's workdir as values, finished or not: what ran and what is missing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments import paired, records
from tl_jax.tree import nearest

STUDY = "study.json"
RESULT = "result.json"


class StudyError(ValueError):
    """A workdir that can't be read as a study."""


class Run(NamedTuple):
    """One strategy with one seed; `result` is None until it has ended."""

    strategy: str
    seed: int
    path: Path
    result: dict[str, Any] | None
    records: list[dict[str, Any]]
    plan: str | None


class Study(NamedTuple):
    """A workdir: `study.json` and the runs it asks for, by strategy."""

    root: Path
    info: dict[str, Any]
    runs: dict[str, list[Run]]
    missing: list[str]
    """What is not there yet, a sentence each."""


def load(workdir: str | Path) -> Study:
    """Read a study's workdir, finished or not.

    Raises StudyError that says what was found and what was expected.
    """
    root = Path(workdir)
    info = _info(root)
    runs, missing = {}, []
    for name in info["strategies"]:
        runs[name] = [_run(root, name, seed) for seed in info["seeds"]]
        for run in runs[name]:
            missing += _missing(root, run)
    return Study(root, info, runs, missing)


def _info(root: Path) -> dict[str, Any]:
    """`study.json`, checked."""
    path = _study_file(root)
    info = _json(path)
    kinds = {"metric": str, "strategies": dict, "seeds": list}
    for key, kind in kinds.items():
        if not isinstance(info.get(key), kind) or not info[key]:
            raise StudyError(
                f"{path}: {key!r} should be a {kind.__name__} that is not empty, "
                f"found {info.get(key)!r}; keys: {', '.join(sorted(info))}"
            )
    for name, about in info["strategies"].items():
        if Path(name).name != name or name in (".", ".."):
            raise StudyError(f"{path}: strategy {name!r} can't be a directory's name")
        if not isinstance(about, dict):
            raise StudyError(
                f"{path}: strategy {name!r} should be an object, found {about!r}"
            )
    for seed in info["seeds"]:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise StudyError(f"{path}: seeds should be integers, found {seed!r}")
    reference = info.get("reference")
    if reference is not None and reference not in info["strategies"]:
        near = ", ".join(nearest(str(reference), info["strategies"]))
        raise StudyError(
            f"{path}: reference {reference!r} is no strategy; nearest: {near}"
        )
    return info


def _study_file(root: Path) -> Path:
    """Where `study.json` stands, or what stands there instead."""
    if not root.is_dir():
        what = "is no directory" if root.exists() else "does not exist"
        beside = [p.name for p in sorted(root.parent.glob("*")) if p.is_dir()]
        hint = f"; beside it: {', '.join(nearest(root.name, beside))}" if beside else ""
        raise StudyError(f"{root} {what}; expected the workdir of a study{hint}")
    path = root / STUDY
    if not path.is_file():
        inside = sorted(p.name for p in root.iterdir())
        found = ", ".join(inside[:12]) + (", ..." if len(inside) > 12 else "")
        below = sorted(str(p.parent) for p in root.glob(f"*/{STUDY}"))
        hint = f"; perhaps you mean {' or '.join(below[:3])}" if below else ""
        raise StudyError(
            f"{root} has no {STUDY}, which a study writes when it starts; "
            f"it holds: {found or 'nothing'}{hint}"
        )
    return path


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise StudyError(f"{path}: expected an object, found {type(value).__name__}")
    return value


def _run(root: Path, strategy: str, seed: int) -> Run:
    path = root / strategy / str(seed)
    result, lines, plan = path / RESULT, path / "records.jsonl", path / "plan.txt"
    return Run(
        strategy,
        seed,
        path,
        _json(result) if result.is_file() else None,
        records.read(lines) if lines.is_file() else [],
        plan.read_text(encoding="utf-8") if plan.is_file() else None,
    )


def _missing(root: Path, run: Run) -> list[str]:
    """What a run lacks, in words."""
    where = f"{run.strategy}/{run.seed}"
    if not run.path.is_dir():
        return [f"{where}: not started"]
    if run.result is None:
        last = max((r.get("step", 0) for r in run.records), default=None)
        seen = "nothing recorded" if last is None else f"recorded up to step {last}"
        return [f"{where}: not finished ({seen}; no {RESULT})"]
    files = ("records.jsonl", "plan.txt", paired.PREDICTIONS)
    gone = [name for name in files if not (run.path / name).is_file()]
    return [f"{where}: finished, but without {', '.join(gone)}"] if gone else []
