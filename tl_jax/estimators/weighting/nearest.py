"""Weights by counting: how many target rows have a source row among their nearest."""

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.weighting.gaussian import ENTRIES, squared
from tl_jax.estimators.weighting.weights import Weights, count, two_sides


def nearest(
    source: ArrayLike, target: ArrayLike, *, k: int = 5, smooth: float = 0.0
) -> Weights:
    """Nearest-neighbour weighting (Loog, 2012).

    w_i = (c_i + smooth) / mean_n (c_n + smooth)

    c_i is the number of target rows that have x_i among their k nearest source rows
    (Euclidean): with k = 1 the target's share of its Voronoi cell. `smooth` = 1 is
    Laplace's: no row is left out. Among rows at one distance the choice is arbitrary.

    ADAPT gives c itself, from 5 neighbours; skada c + 1 from one. Both are these up to
    the factor that makes the mean 1.

    source [N D], target [M D] -> values [N]; a new row gets no weight. Raises
    ValueError for rows that do not fit or are not finite, k outside 1..N and a
    negative `smooth`.
    """
    source, target = two_sides(source, target)
    count("k", k)
    if k > len(source):
        raise ValueError(f"k is {k}, but there are {len(source)} source rows")
    if not (smooth >= 0 and np.isfinite(smooth)):
        raise ValueError(f"smooth is {smooth}, expected a finite number of at least 0")
    counts = np.zeros(len(source))
    part = max(1, ENTRIES // len(source))
    for start in range(0, len(target), part):
        far = squared(target[start : start + part], source)
        own = np.argpartition(far, k - 1, axis=1)[:, :k]
        counts += np.bincount(own.ravel(), minlength=len(source))
    raised = counts + smooth
    return Weights(raised / raised.mean(), None, {"counts": counts})
