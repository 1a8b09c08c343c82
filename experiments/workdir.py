"""The folder of a study: whose it is, and that one process at a time works in it."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

MAY_CHANGE = ("run", "seeds", "mesh.axes", "mesh.rules", "mesh.host_devices")
"""Fields that may change when a study goes on: more strategies, more seeds, other
devices. What changes the numbers may not, as `mesh.batch_norm`."""


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Make the workdir and keep other processes out of it while it lasts.

    Raises BlockingIOError if one is there. The lock goes with its process, however
    that ends.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"--workdir {workdir}: another process works in it; wait for its end, "
                "or take another folder"
            ) from None
        yield


def check_workdir(
    config: ConfigDict, workdir: Path, record: str = "study.json"
) -> None:
    """Check that the workdir can be made, or that what is there is the same work.

    `record` is the file in it that says what was asked for.

    Raises ValueError naming the fields that differ, or NotADirectoryError.
    """
    for part in (workdir, *workdir.parents):
        if part.exists() and not part.is_dir():
            raise NotADirectoryError(
                f"--workdir {workdir}: {part} is a file, expected a folder"
            )
    if not (workdir / record).is_file():
        return
    try:
        before = json.loads((workdir / record).read_text())["asked"]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"--workdir {workdir}: {record} is damaged ({error!r}); take another "
            "folder, or move it away"
        ) from None
    now = json.loads(config.to_json_best_effort())
    old, new = data_of(before), data_of(now)
    changed = [
        f"{name}: {old.get(name)!r} there, {new.get(name)!r} asked for"
        for name in sorted(old.keys() | new.keys())
        if not _same(old, new, name) and name not in MAY_CHANGE
    ]
    if changed:
        raise ValueError(
            f"--workdir {workdir} holds work of another config; take another "
            "folder, or the same values:\n  "
            + "\n  ".join(changed[:6])
            + (f"\n  and {len(changed) - 6} more" if len(changed) > 6 else "")
        )


def _same(old: dict[str, Any], new: dict[str, Any], name: str) -> bool:
    """True for equal values, and for a field of one version that is off in it.

    A study goes on under a version that knows more fields: 0, False and what is empty
    ask for nothing.
    """
    if name in old and name in new:
        return old[name] == new[name]
    return not (old | new)[name]


def data_of(config: Any, at: str = "") -> dict[str, Any]:
    """Fields by dotted name."""
    if not isinstance(config, dict):
        return {at: config}
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= data_of(value, f"{at}.{name}" if at else name)
    return flat
