"""Central moment discrepancy."""

import jax.numpy as jnp

from tl_jax.losses.discrepancy.estimates import rows, weights
from tl_jax.types import Array


def cmd(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    moments: int = 5,
    span: float = 1.0,
) -> Array:
    """Distances of means and central moments (Zellinger et al., 2017).

    |m_s - m_t| / r + sum_{k = 2..K} |c_k(s) - c_k(t)| / r^k

    c_k is the mean of the k-th power of features less their mean, one by one; |.| is
    Euclidean, without a slope at 0. r is the `span` b - a of features in [a, b]: 1
    behind a sigmoid, 2 behind tanh. The authors' code takes r = 1. Of features without
    bounds take a span that most of them keep, or powers grow out of hand. TLlib,
    pytorch-adapt, ADAPT and skada don't have it.

    source [N D], target [M D], weights [N], [M] (0 for padding) -> []; 0 where a side
    weighs nothing. Raises ValueError for widths that differ, for no moments and for a
    span that isn't positive.
    """
    if moments < 1:
        raise ValueError(f"cmd: moments is {moments}, expected at least 1")
    if not span > 0:
        raise ValueError(f"cmd: span is {span}, expected a positive number")
    source, target = rows("cmd", source, target)
    first, enough = _shares(weights(source, source_weight))
    second, also = _shares(weights(target, target_weight))
    mean, other = first @ source, second @ target
    total = _length((mean - other) / span)
    x, y = (source - mean) / span, (target - other) / span
    up, down = x, y
    for _ in range(2, moments + 1):
        up, down = up * x, down * y
        total = total + _length(first @ up - second @ down)
    return jnp.where(enough & also, total, 0)


def _shares(weight: Array) -> tuple[Array, Array]:
    total = weight.sum()
    return weight / jnp.where(total > 0, total, 1), total > 0


def _length(x: Array) -> Array:
    """|x|, of slope 0 at 0."""
    square = jnp.square(x).sum()
    far = square > 0
    return jnp.where(far, jnp.sqrt(jnp.where(far, square, 1)), 0)
