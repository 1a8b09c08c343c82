"""What weights do to a sample: its effective size, its tails, and what was cut."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators import checks

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Report(NamedTuple):
    """Weights in a few numbers; none of them but `mean` and the edges has a unit."""

    rows: int
    effective: float
    """(sum w)^2 / sum w^2 (Kish, 1965): N for equal weights, 1 for a single one."""
    mean: float
    quantiles: tuple[float, ...]
    """Of w / mean w at `QUANTILES`."""
    zeros: int
    """Rows that are left out."""
    heaviest: float
    """Share of the sum that the heaviest hundredth of the rows bears."""
    counts: tuple[int, ...]
    """A histogram of w / mean w."""
    edges: tuple[float, ...]
    """Of its bins, one more than counts."""


def effective_size(values: ArrayLike) -> float:
    """(sum w)^2 / sum w^2 (Kish, 1965). values [N] -> 1..N; raises as `describe`."""
    values = _checked(values)
    values = values / values.max()  # the squares of tiny weights would be 0
    return float(values.sum() ** 2 / (values**2).sum())


def describe(values: ArrayLike, bins: int = 20) -> Report:
    """The report of weights [N].

    Raises ValueError for weights that are negative, not finite or all 0.
    """
    values = _checked(values)
    scaled = values / values.mean()
    order = np.sort(scaled)[::-1]
    counts, edges = np.histogram(scaled, bins)
    top = max(1, len(values) // 100)
    return Report(
        rows=len(values),
        effective=effective_size(values),
        mean=float(values.mean()),
        quantiles=tuple(np.quantile(scaled, QUANTILES).tolist()),
        zeros=int((values == 0).sum()),
        heaviest=float(order[:top].sum() / order.sum()),
        counts=tuple(counts.tolist()),
        edges=tuple(edges.tolist()),
    )


class Clipped(NamedTuple):
    """Weights that were cut, and how many."""

    values: np.ndarray
    """[N]"""
    rows: int
    """How many were above."""
    lost: float
    """Share of the sum that was cut off."""


def clip(values: ArrayLike, most: float) -> Clipped:
    """w_i <- min(w_i, most mean w): less variance for some bias.

    values [N]. Raises ValueError as `describe`, and unless `most` is at least 1.
    """
    values = _checked(values)
    if not most >= 1:
        raise ValueError(f"most is {most}, expected at least 1, the mean")
    top = most * values.mean()
    cut = np.minimum(values, top)
    return Clipped(cut, int((values > top).sum()), float(1 - cut.sum() / values.sum()))


def normalise(values: ArrayLike) -> np.ndarray:
    """w / mean w [N]: the loss keeps its scale. Raises ValueError as `describe`."""
    values = _checked(values)
    return values / values.mean()


class Prepared(NamedTuple):
    """Weights as a fit takes them, and what is to be said of them."""

    values: np.ndarray
    """[N] of mean 1, none below 0."""
    clipped: Clipped | None
    report: Report


def prepared(values: ArrayLike, most: float | None = None) -> Prepared:
    """Weights [N] of mean 1; with `most` none was above so many times the mean.

    Raises ValueError as `describe` and `clip`.
    """
    values, cut = normalise(np.maximum(values, 0.0)), None
    if most is not None:
        cut = clip(values, most)
        values = normalise(cut.values)
    return Prepared(values, cut, describe(values))


def _checked(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"weights have shape {values.shape}, expected [N]")
    checks.check_weight(values)
    return values
