"""Where two half-spaces differ: the classifiers behind the symmetric divergence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.estimators.standard import Standard, standard
from tl_jax.metrics.domain_classifier import Domains, Fit, domain_weights
from tl_jax.minimise import minimise
from tl_jax.types import Array

STARTS = 4
"""Random starts of a problem that is not convex."""


class Pair(NamedTuple):
    """Two affine functions of standardised rows."""

    slopes: Array
    """[2 D]"""
    offsets: Array
    """[2]"""


class Product(NamedTuple):
    """rows [N D] -> the logit [N] of being from the target: a product of two."""

    slopes: np.ndarray
    """[2 D] on raw rows."""
    offsets: np.ndarray
    strength: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        both = np.asarray(rows, np.float64) @ self.slopes.T + self.offsets
        return both[:, 0] * both[:, 1]


def _objective(pair: Pair, data: tuple[Array, Array, Array, Array]) -> Array:
    """Weighted logistic loss of the signed product plus the penalty."""
    z, signs, weight, strength = data
    both = z @ pair.slopes.T + pair.offsets
    losses = jax.nn.softplus(-signs * both[:, 0] * both[:, 1])
    return weight @ losses + strength / 2 * (pair.slopes**2).sum()


def products(seed: int) -> Fit:
    """Fits `STARTS` products a strength, from starts that `seed` draws.

    sign((a x + b)(c x + d)) says where two half-spaces differ, or where they agree:
    the class H delta H of half-spaces H, and its complement.
    """

    def fit(
        domains: Domains, used: np.ndarray, strengths: tuple[float, ...]
    ) -> list[Product]:
        rng = np.random.default_rng(seed)
        weight, rows = domain_weights(domains, used), jnp.asarray(domains.rows)
        scale, width = standard(rows, weight), rows.shape[1]
        signs = jnp.where(jnp.asarray(domains.is_target), 1.0, -1.0)
        starts = [_start(rng, width) for _ in range(STARTS)]
        found = []
        for strength in strengths:
            data = (scale(rows), signs, weight, jnp.float32(strength))
            for start in starts:
                pair, _ = minimise(_objective, start, data, 1e-5, 200)
                found.append(_raw(pair, scale, strength))
        return found

    return fit


def _start(rng: np.random.Generator, width: int) -> Pair:
    slopes, offsets = rng.normal(size=(2, width)) / width**0.5, rng.normal(size=2)
    return Pair(jnp.asarray(slopes, jnp.float32), jnp.asarray(offsets, jnp.float32))


def _raw(pair: Pair, scale: Standard, strength: float) -> Product:
    """From standardised rows to raw ones."""
    mean, inverse = (np.asarray(x, np.float64) for x in scale)
    slopes = np.asarray(pair.slopes, np.float64) * inverse
    offsets = np.asarray(pair.offsets, np.float64) - slopes @ mean
    return Product(slopes, offsets, strength)
