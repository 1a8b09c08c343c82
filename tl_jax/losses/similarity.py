"""How near two sets of vectors are."""

import jax.numpy as jnp

from tl_jax.types import Array

TINY = 1e-12
"""Up to this square a vector is 0: its direction is 0, and has no slope."""


def unit(x: Array) -> Array:
    """x / |x| over the last axis; 0 for 0."""
    square = jnp.square(x).sum(-1, keepdims=True)
    long = ~(square <= TINY)
    return jnp.where(long, x / jnp.sqrt(jnp.where(long, square, 1)), 0)


def cosines(x: Array, y: Array) -> Array:
    """cos(x_i, y_j). x [B D], y [C D] -> [B C]."""
    return products(unit(x), unit(y))


def products(x: Array, y: Array) -> Array:
    """x_i y_j. x [B D], y [C D] -> [B C], in full precision everywhere."""
    return jnp.einsum("bd,cd->bc", x, y, precision="highest")


def squared_distances(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2, of differences: nothing cancels. x [B D], y [C D] -> [B C]."""
    return jnp.square(x[:, None] - y[None]).sum(-1)
