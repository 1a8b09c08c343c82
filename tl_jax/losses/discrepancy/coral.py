"""Correlation alignment: how far apart the covariances of two sets are."""

import jax.numpy as jnp

from tl_jax.losses.discrepancy.estimates import rows, weights
from tl_jax.losses.discrepancy.kernels import gram
from tl_jax.types import Array


def coral(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    means: bool = False,
) -> Array:
    """Squared distance of covariances, Deep CORAL (Sun and Saenko, 2016).

    1 / (4 D^2) |C_s - C_t|_F^2, and with `means` 1 / D |m_s - m_t|^2 beside it

    Covariances divide by N - 1; weighted, by W - sum w^2 / W, which is N - 1 again
    where weights are 0 and 1. Where a side has fewer than two rows of weight, it is 0.

    pytorch-adapt and skada compute the first term, ADAPT both, its `match_mean`. TLlib
    computes |C_s - C_t|_F^2 / D^2 + |m_s - m_t|^2 / D: four times the first, and the
    second always.

    source [N D], target [M D], weights [N], [M] -> []. Raises ValueError for widths
    that differ and for fewer than two rows.
    """
    for side, x in (("source", source), ("target", target)):
        if len(x) < 2:
            raise ValueError(f"coral: {side} has {len(x)} rows, expected at least two")
    source, target = rows("coral", source, target)
    first, mean, enough = _scaled(source, weights(source, source_weight))
    second, other, also = _scaled(target, weights(target, target_weight))
    width = source.shape[1]
    value = _apart(first, second) / (4 * width**2)
    if means:
        value = value + jnp.square(mean - other).sum() / width
    return jnp.where(enough & also, value, 0)


def _scaled(x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Rows whose products add up to the covariance, the mean, and whether two count."""
    total = weight.sum()
    shares = weight / jnp.where(total > 0, total, 1)
    enough = (weight > 0).sum() > 1
    rest = jnp.where(enough, 1 - jnp.square(shares).sum(), 1)
    mean = shares @ x
    return (x - mean) * jnp.sqrt(shares / rest)[:, None], mean, enough


def _apart(x: Array, y: Array) -> Array:
    """|x^T x - y^T y|_F^2 by whichever products are the smaller. [N D], [M D] -> []."""
    both = jnp.concatenate([x, y])
    if len(both) >= x.shape[1]:
        return jnp.square(gram(x.T) - gram(y.T)).sum()
    sign = jnp.where(jnp.arange(len(both)) < len(x), 1, -1).astype(x.dtype)
    return jnp.einsum("i,ij,j->", sign, jnp.square(gram(both)), sign)
