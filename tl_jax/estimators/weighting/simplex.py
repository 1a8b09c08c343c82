"""Shares of a mixture of given densities, by maximum likelihood."""

import numpy as np


def most_likely(
    densities: np.ndarray, tolerance: float = 1e-8, steps: int = 200
) -> tuple[np.ndarray, float]:
    """max_p mean_j log sum_l p_l C_jl over shares p >= 0 that add up to 1.

    densities C [M L] at least 0, no row all 0 (such rows are left out: nothing can
    raise their likelihood) -> (p [L], gap). The likelihood is at most `gap` below the
    largest: gap = max_l mean_j C_jl / (C p)_j - 1, by concavity. Primal-dual Newton
    steps on min -mean log C p + sum p, whose minimum has sum p = 1 by itself.
    """
    C = densities[densities.max(1) > 0]
    C = C / C.max(1, keepdims=True)  # of each row: the shares stay what they are
    p = np.full(C.shape[1], 1 / C.shape[1])
    price = np.ones(len(p))
    best = p, _gap(C, p)
    for _ in range(steps):
        if best[1] <= tolerance:
            break
        p, price = _newton(C, p, price)
        shares = p / p.sum()
        if not np.isfinite(shares).all():
            break
        gap = _gap(C, shares)
        if gap < best[1]:
            best = shares, gap
    return best


def _gap(C: np.ndarray, p: np.ndarray) -> float:
    return float((C / (C @ p)[:, None]).mean(0).max() - 1)


def _newton(
    C: np.ndarray, p: np.ndarray, price: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step; `price` are the multipliers of p >= 0."""
    from scipy.linalg import cho_factor, cho_solve

    scaled = C / (C @ p)[:, None]
    slope = 1 - scaled.mean(0)
    aim = 0.1 * (p @ price) / len(p)
    hessian = scaled.T @ scaled / len(C)
    # A nearly flat direction needs a little weight on the diagonal to be factored.
    hessian[np.diag_indices_from(hessian)] += price / p + 1e-13 * np.trace(hessian)
    known = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
    step = cho_solve(known, aim / p - slope, check_finite=False)
    other = aim / p - price - price * step / p
    return p + _far(p, step) * step, price + _far(price, other) * other


def _far(value: np.ndarray, step: np.ndarray) -> float:
    """The part of a step that leaves every entry above 0."""
    falls = step < 0
    reach = (value[falls] / -step[falls]).min(initial=np.inf)
    return min(1.0, 0.99 * float(reach))
