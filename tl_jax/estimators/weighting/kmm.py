"""Kernel mean matching."""

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.weighting.gaussian import (
    gaussian,
    kernel_means,
    median_distance,
)
from tl_jax.estimators.weighting.low_rank import LowRank, pivoted
from tl_jax.estimators.weighting.quadratic import Box, Solution, solve_quadratic
from tl_jax.estimators.weighting.weights import Weights, count, positive, two_sides

NEAR = 1e-12
"""Share of the trace that a factor may lack to take the steps for K: the gap, which
is always that of K, then comes down to about this."""


def kmm(
    source: ArrayLike,
    target: ArrayLike,
    *,
    sigma: float | None = None,
    bound: float = 1000.0,
    epsilon: float | None = None,
    exact: int = 5000,
    rank: int = 500,
    tolerance: float = 1e-9,
    steps: int = 100,
) -> Weights:
    """Kernel mean matching (Huang et al., 2007).

    min_b 1/2 b' K b - k' b    with 0 <= b_i <= bound, |sum b - N| <= N epsilon

    K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)) and k_i = N / M sum_j k(x_i, t_j): the
    weighted mean of the source in the kernel's space comes as near as can be to that
    of the target. `sigma` is by default the median distance of pooled rows, `epsilon`
    1 - 1 / sqrt(N). Without a density: new rows get no weight.

    Up to `exact` source rows K is held whole and the programme solved in float64 by
    an interior point method; beyond, K is replaced by a pivoted Cholesky factor of
    `rank` columns with the diagonal kept exact, and `found["unexplained"]` is the
    share of K's trace that the factor lacks. `found["gap"]` proves how good b is: the
    squared mean discrepancy, |mean_i b_i phi(x_i) - mean_j phi(t_j)|^2, is at most
    this much above the least of all b allowed; `found["converged"]` says whether it
    is at most `tolerance`. Where K has small eigenvalues many b come that near.

    ADAPT gives the same programme to cvxopt with both bounds as 2N dense rows, stops
    at a relative 1e-6, and beyond `max_size` = 1,000 rows solves halves of the source
    apart, rows that are left over getting 0. skada takes Frank-Wolfe's steps.

    source [N D], target [M D] -> values [N]. Raises ValueError for rows that do not
    fit or are not finite and for a `bound` under which weights can't reach the slab.
    """
    source, target = two_sides(source, target)
    rows = len(source)
    epsilon = 1 - rows**-0.5 if epsilon is None else epsilon
    sigma = median_distance(source, target) if sigma is None else sigma
    positive("sigma", sigma)
    positive("bound", bound)
    count("rank", rank)
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon is {epsilon}, expected at least 0 and below 1")
    box = Box(bound, rows * (1 - epsilon), rows * (1 + epsilon))
    k = rows * kernel_means(source, target, sigma)
    limits = dict(tolerance=tolerance * rows**2 / 2, steps=steps)
    if rows <= exact:
        solution, found = _whole(source, sigma, k, box, limits)
    else:
        K = pivoted(source, sigma, rank, NEAR)
        solution = solve_quadratic(K, k, box, **limits)
        found = {"rank": K.root.shape[1], "unexplained": float(K.rest.mean())}
    gap = 2 * solution.gap / rows**2
    found |= {"sigma": sigma, "epsilon": epsilon, "steps": solution.steps}
    found |= {"gap": gap, "converged": gap <= tolerance}
    return Weights(solution.b, None, found)


def _whole(
    source: np.ndarray, sigma: float, k: np.ndarray, box: Box, limits: dict
) -> tuple[Solution, dict]:
    """With all of K; Newton's steps by a factor where the rank is small."""
    K = gaussian(source, source, sigma)
    K = (K + K.T) / 2
    near: LowRank | None = pivoted(source, sigma, len(source) // 3, NEAR, hopeful=True)
    if near.rest.mean() > NEAR:
        near = None
    solution = solve_quadratic(K, k, box, near=near, **limits)
    if near is not None and solution.gap > limits["tolerance"]:
        near = None  # rounding in the factor: all of K has more digits
        solution = solve_quadratic(K, k, box, **limits)
    rank = len(source) if near is None else near.root.shape[1]
    return solution, {"rank": rank, "unexplained": 0.0}
