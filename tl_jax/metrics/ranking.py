"""How well a score ranks models, and where scores contradict each other."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

FEW = 0.3
"""Scores whose mean pairwise tau is below this contradict each other."""


def kendall(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's tau-b (Kendall, 1945): 1 for one order, -1 for opposite ones.

    (agreeing pairs - others) / sqrt(untied in a x untied in b); NaN where a side does
    not vary. a, b [N].
    """
    a, b = _pair(a, b)
    upper = np.triu_indices(len(a), 1)
    x = np.sign(a[:, None] - a)[upper]
    y = np.sign(b[:, None] - b)[upper]
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else math.nan


def ranks(values: ArrayLike) -> np.ndarray:
    """1 for the least, equals get their mean rank. [N] -> [N]."""
    values = np.asarray(values, np.float64)
    below = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    return below + (equal + 1) / 2


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rho (Spearman, 1904): Pearson's correlation of ranks; NaN if flat."""
    a, b = (ranks(x) for x in _pair(a, b))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else math.nan


class Agreement(NamedTuple):
    """How a score ranks models against the truth."""

    kendall: float
    spearman: float
    low: float
    """Of Spearman's rho; NaN where too few models differ to say."""
    high: float
    chosen: int
    """The model that the score likes best, the first of equals."""
    regret: float
    """Truth of the best model less that of the chosen one, at least 0."""
    models: int


def agreement(
    scores: ArrayLike,
    truth: ArrayLike,
    *,
    higher_is_better: bool,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Agreement:
    """Rank correlation of a score with the truth, oriented so that 1 is perfect.

    The interval is a percentile bootstrap over models (Efron, 1979); of a dozen models
    it is wide, and it speaks of models drawn like these. scores [M] as the score gives
    them, truth [M], higher is better. Raises ValueError for lengths that differ, fewer
    than 2 models and values that are NaN.
    """
    scores, truth = _pair(scores, truth)
    good = scores if higher_is_better else -scores
    rng, draws = np.random.default_rng(seed), []
    for _ in range(resamples):
        rows = rng.integers(len(good), size=len(good))
        draws.append(spearman(good[rows], truth[rows]))
    known = np.asarray(draws)[~np.isnan(draws)]
    ends = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(known, ends) if len(known) else (math.nan, math.nan)
    best = int(good.argmax())
    own = kendall(good, truth), spearman(good, truth)
    lost = float(truth.max() - truth[best])
    return Agreement(*own, float(low), float(high), best, lost, len(good))


class Disagreement(NamedTuple):
    """Where scores that see no target label contradict each other."""

    tau: float
    """Mean of Kendall's tau over pairs of scores; NaN with fewer than two."""
    winners: dict[str, tuple[str, ...]]
    """Model -> the scores that like it best."""
    warning: str | None
    """A sentence for people; None where the scores agree."""


def disagreement(
    scores: Mapping[str, Sequence[float]],
    models: Sequence[str],
    *,
    higher_is_better: Mapping[str, bool],
    least: float = FEW,
) -> Disagreement:
    """Do the scores rank models alike? They warn where they don't.

    scores: name -> a value a model; `higher_is_better`: which way each points. A score
    that does not vary says nothing and is left out. The warning comes with a mean
    pairwise tau below `least` or with winners that differ.

    Raises ValueError for lengths that differ from `models` and unknown directions.
    """
    good, winners = {}, {}
    for name, values in scores.items():
        if name not in higher_is_better:
            raise ValueError(f"higher_is_better says nothing of {name!r}")
        if len(values) != len(models):
            raise ValueError(f"{name}: {len(values)} scores for {len(models)} models")
        values = np.asarray(values, np.float64)
        if len(models) < 2 or np.isnan(values).any() or np.ptp(values) == 0:
            continue
        good[name] = values if higher_is_better[name] else -values
        winners.setdefault(models[int(good[name].argmax())], []).append(name)
    taus = [kendall(a, b) for a, b in itertools.combinations(good.values(), 2)]
    tau = float(np.mean(taus)) if taus else math.nan
    winners = {model: tuple(names) for model, names in winners.items()}
    return Disagreement(tau, winners, _warning(tau, winners, least) if taus else None)


def _warning(tau: float, winners: dict, least: float) -> str | None:
    """What to say of scores that contradict each other."""
    if len(winners) < 2 and tau >= least:
        return None
    order = sorted(winners.items(), key=lambda pair: -len(pair[1]))
    said = "; ".join(f"{model} by {', '.join(names)}" for model, names in order)
    strength = "contradict each other" if tau < least else "agree in part"
    return (
        f"Scores that see no target label {strength} (mean pairwise Kendall's tau "
        f"{tau:.2f}). Best is {said}. Some labelled target rows would settle it."
    )


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two float64 arrays [N] of one length, at least 2, without a NaN."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(
            f"shapes are {a.shape} and {b.shape}, expected [N] twice, N at least 2"
        )
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("a value is NaN, which has no rank")
    return a, b
