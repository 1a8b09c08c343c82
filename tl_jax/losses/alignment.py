"""Losses of labelled pairs across two domains."""

import chex
import jax.numpy as jnp

from tl_jax.losses.similarity import products
from tl_jax.types import Array


def semantic_alignment(
    source: Array,
    source_labels: Array,
    target: Array,
    target_labels: Array,
    *,
    margin: float = 1.0,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Array:
    """Contrastive semantic alignment, CCSA's pair losses (Motiian et al., 2017).

    mean_{y_i = y_j} 1/2 d_ij^2 + mean_{y_i /= y_j} 1/2 max(0, margin - d_ij)^2

    over all pairs of a source and a target example, d_ij the distance of their
    features; a mean over nobody is 0. The authors' program draws three unequal pairs
    for an equal one and takes one mean over both kinds. ADAPT takes max(0, margin -
    d^2) and means over each source example's pairs. source [B D], labels [B] int,
    target [M D], labels [M], weights [B], [M] -> [].
    """
    chex.assert_rank([source, target], 2)
    source, target = (jnp.asarray(x, jnp.float32) for x in (source, target))
    pairs = _weight(source, source_weight)[:, None] * _weight(target, target_weight)
    same = jnp.asarray(source_labels)[:, None] == jnp.asarray(target_labels)
    square = squares(source, target)
    near = square > 0
    distance = jnp.where(near, jnp.sqrt(jnp.where(near, square, 1)), 0)
    apart = jnp.square(jnp.maximum(margin - distance, 0))
    return _mean(square / 2, pairs * same) + _mean(apart / 2, pairs * ~same)


def squares(x: Array, y: Array) -> Array:
    """|x_i - y_j|^2 by one product, at least 0. x [B D], y [M D] -> [B M]."""
    middle = y.mean(0)
    x, y = x - middle, y - middle  # less cancels where both lie far from 0
    own = jnp.square(x).sum(-1)[:, None] + jnp.square(y).sum(-1)
    return jnp.maximum(own - 2 * products(x, y), 0)


def _weight(x: Array, weight: Array | None) -> Array:
    return jnp.ones(len(x)) if weight is None else jnp.asarray(weight)


def _mean(values: Array, weight: Array) -> Array:
    total = weight.sum()
    return (weight * values).sum() / jnp.where(total > 0, total, 1)
