"""Where two half-spaces differ: the classifiers behind the symmetric divergence."""

from typing import NamedTuple

import numpy as np

from tl_jax.metrics.domain_classifier import (
    Domains,
    Fit,
    Space,
    minimised,
    standardised,
)

STARTS = 4
"""Random starts of a problem that is not convex."""


class Product(NamedTuple):
    """rows [N D] -> the logit [N] of being from the target: a product of two."""

    slopes: np.ndarray
    """[2 D]"""
    offsets: np.ndarray
    """[2]"""
    strength: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        both = np.asarray(rows, np.float64) @ self.slopes.T + self.offsets
        return both[:, 0] * both[:, 1]


def products(seed: int) -> Fit:
    """Fits `STARTS` products a strength, from starts that `seed` draws.

    sign((a x + b)(c x + d)) says where two half-spaces differ, or where they agree:
    the class H delta H of half-spaces H, and its complement.
    """

    def fit(
        domains: Domains, used: np.ndarray, strengths: tuple[float, ...]
    ) -> list[Product]:
        space, rng = standardised(domains, used), np.random.default_rng(seed)
        width = space.z.shape[1]
        starts = [rng.normal(size=(2, width + 1)) for _ in range(STARTS)]
        starts = [(x / [*[width**0.5] * width, 1]).ravel() for x in starts]
        found = []
        for strength in strengths:
            for start in starts:
                x = minimised(_objective, start, (space, strength)).reshape(2, -1)
                slopes = x[:, :-1] * space.inverse
                offsets = x[:, -1] - slopes @ space.mean
                found.append(Product(slopes, offsets, strength))
        return found

    return fit


def _objective(
    x: np.ndarray, space: Space, strength: float
) -> tuple[float, np.ndarray]:
    """Weighted logistic loss of the signed product plus the penalty; its gradient."""
    x = x.reshape(2, -1)
    both = space.z @ x[:, :-1].T + x[:, -1]
    margin = space.sides * both[:, 0] * both[:, 1]
    value = space.weight @ np.logaddexp(0, -margin)
    value += strength / 2 * np.square(x[:, :-1]).sum()
    pull = -space.sides * space.weight * (0.5 - 0.5 * np.tanh(margin / 2))
    push = pull[:, None] * both[:, ::-1]
    slopes = push.T @ space.z + strength * x[:, :-1]
    return value, np.column_stack([slopes, push.sum(0)]).ravel()
