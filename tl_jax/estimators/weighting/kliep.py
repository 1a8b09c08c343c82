"""KLIEP: a density ratio by maximum likelihood."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.weighting.gaussian import (
    KernelRatio,
    draw_centres,
    gaussian,
    sigma_grid,
)
from tl_jax.estimators.weighting.simplex import most_likely
from tl_jax.estimators.weighting.weights import Weights, count, positive, two_sides

TINY = 1e-300
"""Below it a kernel's mean over the source counts as 0, and the centre is left out."""


def kliep(
    source: ArrayLike,
    target: ArrayLike,
    *,
    sigmas: Sequence[float] | None = None,
    centres: int = 100,
    folds: int = 5,
    tolerance: float = 1e-8,
    seed: int = 0,
) -> Weights:
    """The Kullback-Leibler importance estimation procedure (Sugiyama et al., 2008).

    max_a mean_j log w(t_j)    with mean_i w(x_i) = 1, a >= 0,
    w(x) = sum_l a_l exp(-|x - c_l|^2 / (2 sigma^2))

    The centres c are at most `centres` target rows. Of several `sigmas` (by default an
    eighth of the median distance to twice it) the one wins whose J, the mean of
    log w over target rows that were left out, is largest over `folds`. The problem is
    convex; an interior point method solves it until the likelihood is within
    `tolerance` of the largest, which `found["gap"]` bounds. `found["scores"]` holds
    J by sigma; minus infinity where a row left out had no weight.

    ADAPT takes `gamma` = 1 / (2 sigma^2) and 2,000 of Frank-Wolfe's steps, which come
    within 1e-5 of the largest likelihood, or projected ascent with learning rates; it
    adds 2e-16 inside logarithms.

    source [N D], target [M D] -> values [N], mean 1, and the ratio of new rows.
    Raises ValueError for rows that do not fit or are not finite, and where no centre
    is near a source row.
    """
    source, target = two_sides(source, target)
    sigmas = sigma_grid(source, target) if sigmas is None else tuple(sigmas)
    count("centres", centres)
    for sigma in sigmas:
        positive("sigma", sigma)
    if not sigmas:
        raise ValueError("sigmas is empty")
    chosen, scores = sigmas[0], {}
    if len(sigmas) > 1:
        count("folds", folds, 2)
        if folds > len(target):
            raise ValueError(f"{folds} folds of {len(target)} target rows")
        sides = np.random.default_rng(seed).permutation(len(target)) % folds
        for sigma in sigmas:
            limits = centres, tolerance, seed
            scores[sigma] = _score(source, target, sigma, sides, *limits)
        chosen = max(scores, key=scores.get)
        if scores[chosen] == -np.inf:
            raise ValueError("at every sigma a target row left out had no weight")
    ratio, gap = _fit(source, target, chosen, centres, tolerance, seed)
    found = {"sigma": chosen, "scores": scores, "gap": gap}
    found["converged"] = gap <= tolerance
    return Weights(ratio(source), ratio, found)


def _fit(
    source: np.ndarray,
    target: np.ndarray,
    sigma: float,
    centres: int,
    tolerance: float,
    seed: int,
) -> tuple[KernelRatio, float]:
    """(The ratio, how far its mean log likelihood may lie below the largest)."""
    middles = draw_centres(target, centres, seed)
    means = gaussian(middles, source, sigma).mean(1)
    near = means > TINY
    if not near.any():
        raise ValueError(f"no source row is near a centre at sigma {sigma:g}")
    middles, means = middles[near], means[near]
    shares, gap = most_likely(gaussian(target, middles, sigma) / means, tolerance)
    return KernelRatio(middles, shares / means, sigma), gap


def _score(
    source: np.ndarray,
    target: np.ndarray,
    sigma: float,
    sides: np.ndarray,
    *limits: float,
) -> float:
    """J at one sigma. sides [M]: the fold of each target row."""
    scores = []
    for fold in range(sides.max() + 1):
        out = sides == fold
        try:
            ratio, _ = _fit(source, target[~out], sigma, *limits)
        except ValueError:
            return -np.inf
        with np.errstate(divide="ignore"):
            scores.append(np.log(ratio(target[out])).mean())
    return float(np.mean(scores))
