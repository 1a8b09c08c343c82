"""Gaussian kernels of rows in float64, with one product for all pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

ENTRIES = 2**24
"""Kernel values held at once where only their sums are wanted."""


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_j|^2 [N M] of rows a [N D] and b [M D]."""
    middle = b.mean(0)  # near 0 the difference of large squares loses least
    a, b = a - middle, b - middle
    far = -2.0 * (a @ b.T)
    far += (a**2).sum(1)[:, None]
    far += (b**2).sum(1)
    return np.maximum(far, 0.0, out=far)


def gaussian(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    """exp(-|a_i - b_j|^2 / (2 sigma^2)) [N M]."""
    far = squared(a, b)
    far *= -0.5 / sigma**2
    return np.exp(far, out=far)


def kernel_means(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    """mean_j k(a_i, b_j) [N], a part of the rows a at a time."""
    part = max(1, ENTRIES // len(b))
    parts = [a[i : i + part] for i in range(0, len(a), part)]
    return np.concatenate([gaussian(rows, b, sigma).mean(1) for rows in parts])


def median_distance(*sides: np.ndarray, most: int = 1000, seed: int = 0) -> float:
    """The median distance of two different rows, of all sides pooled.

    Of `most` rows at most, drawn without replacement; raises ValueError where more
    than half of the pairs are equal rows, so that the median is 0.
    """
    rows = np.concatenate(sides)
    if len(rows) > most:
        rows = rows[np.random.default_rng(seed).permutation(len(rows))[:most]]
    far = squared(rows, rows)[np.triu_indices(len(rows), 1)]
    found = float(np.sqrt(np.median(far))) if len(far) else 0.0
    if not found > 0:
        raise ValueError(
            "the median distance of two rows is 0: most rows are equal; give sigma"
        )
    return found


def sigma_grid(*sides: np.ndarray) -> tuple[float, ...]:
    """Widths to choose from: an eighth of the median distance to twice it."""
    middle = median_distance(*sides)
    return tuple(middle * 2.0 ** (k / 2) for k in range(-6, 3))


def draw_centres(target: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` target rows [L D], in their order."""
    if len(target) <= most:
        return target
    picked = np.random.default_rng(seed).permutation(len(target))[:most]
    return target[np.sort(picked)]


class KernelRatio(NamedTuple):
    """x -> sum_l alpha_l k(x, c_l): a density ratio as a sum of kernels."""

    centres: np.ndarray
    """[L D]"""
    alpha: np.ndarray
    """[L]"""
    sigma: float

    def __call__(self, rows: ArrayLike) -> np.ndarray:
        """rows [B D] -> [B]; raises ValueError for rows of another width."""
        rows = np.asarray(rows, np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.centres.shape[1]:
            wanted = self.centres.shape[1]
            raise ValueError(f"rows have shape {rows.shape}, expected [B {wanted}]")
        return gaussian(rows, self.centres, self.sigma) @ self.alpha
