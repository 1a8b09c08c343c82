"""What a run writes down while it goes: one JSON object a line, in order of steps.

Records hold no clock, so a run that was stopped and resumed leaves the same bytes as
one that was not; timings go to a file of their own.
"""

import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

from tl_jax.checkpoint import write_atomic

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Sink(Protocol):
    """Anything that takes records."""

    def append(self, record: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class Records:
    """An append-only file of JSON lines, flushed after each (`with` closes it).

    Without `resume_step` the file must be new or empty. With it, what was recorded
    after that step (and a half-written last line) is cut off first, in one atomic
    replacement, so that the resumed run writes those steps again; `resume_step=-1`
    starts over. Numbers keep every digit; NaN and infinities become the strings
    `NaN`, `Infinity` and `-Infinity`, which `read` turns back into numbers.

    Raises FileExistsError if records stand there already and no step was given.
    """

    def __init__(self, path: str | Path, resume_step: int | None = None) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            if resume_step is None and self.path.stat().st_size:
                raise FileExistsError(
                    f"{self.path} holds records already; give resume_step to go on "
                    "after that step (-1 to start over), or another path"
                )
            if resume_step is not None:
                _truncate(self.path, resume_step)
        self._file = self.path.open("a", encoding="utf-8", newline="\n")

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, which must name its `step`."""
        step = record.get("step")
        if isinstance(step, bool) or not isinstance(step, (int, np.integer)):
            raise ValueError(
                f"{self.path}: a record needs an integer step, found {step!r} "
                f"among {sorted(map(str, record))}"
            )
        self._file.write(line(record))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def line(record: Mapping[str, Any]) -> str:
    """One record as one line of strict JSON."""
    plain = {str(name): _plain(str(name), value) for name, value in record.items()}
    return json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n"


def read(path: str | Path) -> list[dict[str, Any]]:
    """The records of a file; a half-written last line is left out.

    Raises FileNotFoundError, or ValueError that names the line that is no record.
    """
    path = Path(path)
    found = []
    for number, text, complete in _lines(path):
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            if not complete:
                break
            raise ValueError(f"{path}:{number} is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number}: expected an object, found {text!r}")
        found.append({name: _number(value) for name, value in record.items()})
    return found


def seconds_until(path: Path, step: int) -> float:
    """Seconds that a file of timings holds for steps up to `step`; 0 without one."""
    rows = read(path) if path.is_file() else []
    done = [row for row in rows if row["step"] <= step]
    return float(sum(row["seconds"] + row["compile_seconds"] for row in done))


def step_seconds(path: Path) -> float | None:
    """The median of a step's seconds, compilation apart; None without steps."""
    rows = read(path) if path.is_file() else []
    found = [row["seconds"] / row["steps"] for row in rows if row["steps"]]
    return median(found) if found else None


class TensorBoard:
    """Writes the numbers of each record as TensorBoard events, `split/name`.

    Needs the extra `tensorboard` (the package tensorboardX).
    """

    def __init__(self, folder: str | Path, resume_step: int | None = None) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard records need the package tensorboardX: "
                'pip install "tl_jax[tensorboard]"'
            ) from error
        purge = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(str(folder), purge_step=purge)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write every number of one record at its step."""
        step, prefix = int(record["step"]), record.get("split")
        for name, value in record.items():
            value = _plain(name, value)
            if name == "step" or isinstance(value, bool):
                continue
            value = _number(value)
            if isinstance(value, (int, float)):
                tag = f"{prefix}/{name}" if prefix else name
                self._writer.add_scalar(tag, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Sinks:
    """Several sinks as one: each takes every record."""

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = sinks

    def append(self, record: Mapping[str, Any]) -> None:
        for sink in self.sinks:
            sink.append(record)

    def close(self) -> None:
        """Close all, even if one of them fails."""
        with ExitStack() as stack:
            for sink in reversed(self.sinks):
                stack.callback(sink.close)

    def __enter__(self) -> "Sinks":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Spread:
    """Sinks of several runs: each takes its own part of a record's lists."""

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = sinks

    def append(self, record: Mapping[str, Any]) -> None:
        """Element i of each list goes to sink i, what is no list to all."""
        for i, sink in enumerate(self.sinks):
            own = {n: v[i] if isinstance(v, list) else v for n, v in record.items()}
            sink.append(own)

    def close(self) -> None:
        """Whoever opened the sinks closes them."""


def _lines(path: Path) -> list[tuple[int, str, bool]]:
    """(number, text, whether its newline was written) of each line with text."""
    parts = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    last = len(parts) - 1
    return [(i + 1, part, i < last) for i, part in enumerate(parts) if part.strip()]


def _truncate(path: Path, step: int) -> None:
    """Keep the records up to `step`, in one atomic replacement."""
    kept = [record for record in read(path) if record.get("step", -1) <= step]
    write_atomic(path, "".join(line(record) for record in kept))


def _plain(name: str, value: Any) -> Any:
    """A value of JSON: arrays as numbers and lists, exact to the last bit."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return next(k for k, v in _NOT_FINITE.items() if str(v) == str(float(value)))
    if isinstance(value, Mapping):
        return {str(k): _plain(f"{name}/{k}", v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(name, v) for v in value]
    if hasattr(value, "__array__"):
        return _plain(name, np.asarray(value).tolist())
    raise TypeError(
        f"record field {name!r}: expected a number, text or array, "
        f"found {type(value).__name__}"
    )


def _number(value: Any) -> Any:
    """Undo the spelling of what is not finite."""
    if isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [_number(v) for v in value]
    if isinstance(value, dict):
        return {k: _number(v) for k, v in value.items()}
    return value
