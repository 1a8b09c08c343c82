"""uLSIF and RuLSIF: density ratios by least squares, in closed form."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.weighting.gaussian import (
    KernelRatio,
    draw_centres,
    gaussian,
    sigma_grid,
)
from tl_jax.estimators.weighting.weights import Weights, count, positive, two_sides

LAMBDAS = tuple(10.0 ** (k / 2) for k in range(-6, 3))
"""Strengths to choose from, 1e-3 to 10."""


def ulsif(
    source: ArrayLike,
    target: ArrayLike,
    *,
    sigmas: Sequence[float] | None = None,
    lambdas: Sequence[float] = LAMBDAS,
    centres: int = 100,
    seed: int = 0,
) -> Weights:
    """Unconstrained least-squares importance fitting (Kanamori et al., 2009).

    `rulsif` with alpha 0: the plain ratio target / source, without an upper bound.
    """
    how = dict(sigmas=sigmas, lambdas=lambdas, centres=centres, seed=seed)
    return rulsif(source, target, alpha=0.0, **how)


def rulsif(
    source: ArrayLike,
    target: ArrayLike,
    *,
    alpha: float = 0.1,
    sigmas: Sequence[float] | None = None,
    lambdas: Sequence[float] = LAMBDAS,
    centres: int = 100,
    seed: int = 0,
) -> Weights:
    """Relative unconstrained least-squares importance fitting (Yamada et al., 2011).

    w(x) = sum_l a_l exp(-|x - c_l|^2 / (2 sigma^2)),
    a = max(0, (H + lambda I)^-1 h),  h_l = mean_j k(t_j, c_l),
    H = alpha mean_j k(t_j, c) k(t_j, c)' + (1 - alpha) mean_i k(x_i, c) k(x_i, c)'

    w estimates target / (alpha target + (1 - alpha) source), at most 1 / alpha. The
    centres c are at most `centres` target rows. Of several `sigmas` and `lambdas` the
    pair wins with the least leave-one-out score: for i = 1..min(N, M), x_i and t_i
    are left out of H and h both, a is solved anew (a correction of rank two, exact),
    and alpha / 2 w(t_i)^2 + (1 - alpha) / 2 w(x_i)^2 - w(t_i) is averaged.

    The values are as estimated, their mean near 1 and not 1. For alpha = 0 the score
    is that of Kanamori et al.; ADAPT's takes the two sides for one another, and for
    alpha > 0 leaves t_i inside H, so that it picks by another number; given sigma and
    lambda its weights are these.

    source [N D], target [M D] -> values [N] and the ratio of new rows;
    `found["scores"]` holds the scores by (sigma, lambda). Raises ValueError for rows
    that do not fit or are not finite, and alpha outside 0..1.
    """
    source, target = two_sides(source, target)
    sigmas = sigma_grid(source, target) if sigmas is None else tuple(sigmas)
    lambdas = tuple(lambdas)
    if not (sigmas and lambdas):
        raise ValueError("sigmas or lambdas are empty")
    for name, values in (("sigma", sigmas), ("lambda", lambdas)):
        for value in values:
            positive(name, value)
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is {alpha}, expected at least 0 and below 1")
    count("centres", centres)
    middles = draw_centres(target, centres, seed)
    scores: dict[tuple[float, float], float] = {}
    if len(sigmas) * len(lambdas) > 1:
        pairs = min(len(source), len(target))
        if pairs < 2:
            raise ValueError("leave-one-out needs two rows on each side")
        order = np.random.default_rng(seed)
        s, t = order.permutation(len(source)), order.permutation(len(target))
        for sigma in sigmas:
            on_s = gaussian(source, middles, sigma)[s]
            on_t = gaussian(target, middles, sigma)[t]
            found = _scores(on_s, on_t, alpha, lambdas)
            scores |= {(sigma, each): x for each, x in zip(lambdas, found, strict=True)}
    sigma, strength = min(scores, key=scores.get) if scores else (sigmas[0], lambdas[0])
    on_s, on_t = gaussian(source, middles, sigma), gaussian(target, middles, sigma)
    H = alpha * on_t.T @ on_t / len(on_t) + (1 - alpha) * on_s.T @ on_s / len(on_s)
    a = np.linalg.solve(H + strength * np.eye(len(H)), on_t.mean(0))
    ratio = KernelRatio(middles, np.maximum(a, 0.0), sigma)
    chosen = {"sigma": sigma, "lambda": strength, "alpha": alpha, "scores": scores}
    return Weights(ratio(source), ratio, chosen)


def _scores(
    on_s: np.ndarray, on_t: np.ndarray, alpha: float, lambdas: Sequence[float]
) -> list[float]:
    """Leave-one-out scores by lambda. Kernels on_s [N L], on_t [M L]."""
    n, m = len(on_s), len(on_t)
    x, t = on_s[: min(n, m)], on_t[: min(n, m)]
    # Both weights are those of the rows that stay: n - 1 and m - 1.
    H = alpha / (m - 1) * on_t.T @ on_t + (1 - alpha) / (n - 1) * on_s.T @ on_s
    h = (on_t.sum(0) - t) / (m - 1)  # [P L]
    out = np.stack([np.sqrt(alpha / (m - 1)) * t, np.sqrt((1 - alpha) / (n - 1)) * x])
    return [_score(H, h, out, x, t, alpha, strength) for strength in lambdas]


def _score(
    H: np.ndarray,
    h: np.ndarray,
    out: np.ndarray,
    x: np.ndarray,
    t: np.ndarray,
    alpha: float,
    strength: float,
) -> float:
    """By Woodbury: (H + lambda I - out out')^-1 h of all pairs. out [2 P L]."""
    base = H + strength * np.eye(len(H))
    solved = np.linalg.solve(base, np.concatenate([h, *out]).T).T
    a, u = solved[: len(h)], solved[len(h) :].reshape(out.shape)
    small = np.eye(2) - np.einsum("ipl,jpl->pij", out, u)
    along = np.einsum("ipl,pl->pi", out, a)
    a = a + np.einsum("ipl,pi->pl", u, np.linalg.solve(small, along[..., None])[..., 0])
    a = np.maximum(a, 0.0)
    w_x, w_t = (a * x).sum(1), (a * t).sum(1)
    each = alpha / 2 * w_t**2 + (1 - alpha) / 2 * w_x**2 - w_t
    return float(each.mean())
