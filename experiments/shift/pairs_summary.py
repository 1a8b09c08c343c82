"""What the studies of several pairs of domains say together."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shift.pairs import RECORD
from experiments.study import StudyError, load
from experiments.summary import Row, Summary, summarise
from tl_jax.metrics.transfer import Interval, gain_interval


class Pair(NamedTuple):
    """One pair's study; `summary` is None until it has begun."""

    source: str
    target: str
    folder: str
    summary: Summary | None

    @property
    def name(self) -> str:
        """`source → target`."""
        return f"{self.source} → {self.target}"

    def row(self, strategy: str) -> Row | None:
        """A strategy's line, if it has begun."""
        rows = self.summary.rows if self.summary else ()
        return next((row for row in rows if row.name == strategy and row.done), None)


class Line(NamedTuple):
    """One strategy over all pairs."""

    name: str
    title: str
    opened: bool
    """Whether it has seen labels of the target."""
    mean: float | None
    """Of the means of the pairs that it has ended with."""
    gain: Interval | None
    """Over the reference: the mean over pairs, and an interval over these."""
    positive: int
    none: int
    negative: int
    done: int


class Pairs(NamedTuple):
    """All pairs of a workdir, and each strategy over them."""

    root: Path
    info: dict[str, Any]
    pairs: tuple[Pair, ...]
    lines: tuple[Line, ...]
    metric: str
    reference: str | None


def is_pairs(root: Path) -> bool:
    """Whether a workdir holds studies of pairs."""
    return (Path(root) / RECORD).is_file()


def read_pairs(workdir: str | Path) -> Pairs:
    """The studies of a workdir, finished or not; raises StudyError."""
    root = Path(workdir)
    try:
        info = json.loads((root / RECORD).read_text(encoding="utf-8"))
        named = [tuple(map(str, pair)) for pair in info["pairs"]]
    except (ValueError, KeyError, OSError) as error:
        raise StudyError(f"{root / RECORD} can't be read: {error!r}") from None
    pairs = tuple(Pair(*pair, _summary(root / pair[2])) for pair in named)
    begun = [pair.summary for pair in pairs if pair.summary is not None]
    if not begun:
        raise StudyError(f"{root}: no pair's study has begun")
    reference = begun[0].study.info.get("reference")
    names = dict.fromkeys(row.name for own in begun for row in own.rows)
    lines = tuple(_line(name, pairs, reference) for name in names)
    return Pairs(root, info, pairs, lines, begun[0].metric, reference)


def _summary(folder: Path) -> Summary | None:
    return summarise(load(folder)) if (folder / "study.json").is_file() else None


def _line(name: str, pairs: Sequence[Pair], reference: str | None) -> Line:
    found = [(pair, row) for pair in pairs if (row := pair.row(name)) is not None]
    scores = [row.scores[pair.summary.metric].mean for pair, row in found]
    gains = [row.gain for _, row in found if row.gain is not None]
    verdicts = [
        row.comparison.verdict.verdict
        for _, row in found
        if row.comparison is not None and row.comparison.verdict is not None
    ]
    begun = next(pair.summary for pair in pairs if pair.summary is not None)
    own = next((row for row in begun.rows if row.name == name), None)
    opened = any(
        name in (pair.summary.study.info.get("opened_target_labels") or ())
        for pair, _ in found
    )
    return Line(
        name,
        own.title if own else name,
        opened,
        float(np.mean(scores)) if scores else None,
        gain_interval(gains) if gains and name != reference else None,
        verdicts.count("positive"),
        verdicts.count("no difference"),
        verdicts.count("negative"),
        len(found),
    )
