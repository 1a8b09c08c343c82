"""Medians, quartiles and paired ratios of interleaved rounds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LIMIT = 0.25
"""Cores that others may use, on average, before a timing counts as disturbed."""


class Spread(NamedTuple):
    """A median and its quartiles."""

    median: float
    low: float
    high: float
    count: int


class Timing(NamedTuple):
    """One side's call in one round."""

    seconds: float
    foreign: float
    """Cores that everything else used meanwhile, on average."""


Round = dict[str, Timing]
"""Side -> timing: all sides, one after another."""


def spread(values: Sequence[float]) -> Spread | None:
    """Median and quartiles, linear between neighbours; None of nothing."""
    if not len(values):
        return None
    low, median, high = np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75))
    return Spread(float(median), float(low), float(high), len(values))


def disturbed(timings: Round, limit: float = LIMIT) -> bool:
    """True if another process used a core while any of the sides ran."""
    return any(timing.foreign > limit for timing in timings.values())


def kept(rounds: Sequence[Round], limit: float = LIMIT) -> list[Round]:
    """The rounds that nobody disturbed."""
    return [timings for timings in rounds if not disturbed(timings, limit)]


def seconds(rounds: Sequence[Round], side: str) -> list[float]:
    """What one side took, round by round."""
    return [timings[side].seconds for timings in rounds]


def ratio(rounds: Sequence[Round], ours: str, peer: str) -> Spread | None:
    """Median of peer / ours within each round: above 1 we are faster.

    The ratio is taken inside a round, where both sides met the same machine.
    """
    return spread([r[peer].seconds / r[ours].seconds for r in rounds])
