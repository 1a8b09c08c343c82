"""Squared distances of two mean embeddings, from values of a kernel."""

from collections.abc import Callable, Sequence

import chex
import jax.numpy as jnp

from tl_jax.types import Array

Layers = Sequence[Array]
"""One array [N D_l] a layer."""


def rows(name: str, source: Array, target: Array) -> tuple[Array, Array]:
    """Both sides [B D] in float32 or wider; raises ValueError where they don't fit."""
    chex.assert_rank([source, target], 2)
    if source.shape[1] != target.shape[1]:
        raise ValueError(
            f"{name}: source has {source.shape[1]} features, target {target.shape[1]}"
        )
    dtype = jnp.promote_types(jnp.result_type(source, target), jnp.float32)
    return jnp.asarray(source, dtype), jnp.asarray(target, dtype)


def weights(x: Array, weight: Array | None) -> Array:
    """[B] the rows' weights, 1 where none are given; they have no gradient of x."""
    if weight is None:
        return jnp.ones(len(x), x.dtype)
    chex.assert_shape(weight, (len(x),))
    return jnp.asarray(weight, x.dtype)


def quadratic(kernel: Array, source: Array, target: Array, unbiased: bool) -> Array:
    """mean k(s, s') + mean k(t, t') - 2 mean k(s, t), over all pairs.

    Unbiased, no row is paired with itself. Means are weighted by the product of both
    rows' weights. 0 where a side has too few rows to say: one, or where it is unbiased
    two. Kernel [N+M N+M] of all rows, weights source [N], target [M] -> [].
    """
    of_source, enough = _within(source, unbiased)
    of_target, also = _within(target, unbiased)
    signed = jnp.concatenate([_shares(source), -_shares(target)])
    side = jnp.arange(len(kernel)) < len(source)
    same = side[:, None] == side
    scale = jnp.where(side, of_source, of_target)
    share = signed[:, None] * signed * jnp.where(same, scale, 1)
    if unbiased:
        share = jnp.where(jnp.eye(len(kernel), dtype=bool), 0, share)
    return jnp.where(enough & also, (share * kernel).sum(), 0)


def _shares(weight: Array) -> Array:
    total = weight.sum()
    return weight / jnp.where(total > 0, total, 1)


def _within(weight: Array, unbiased: bool) -> tuple[Array, Array]:
    """What pairs of one side are scaled by, and whether there are any."""
    whole = jnp.square(weight.sum())
    pairs = whole - jnp.square(weight).sum() if unbiased else whole
    enough = (weight > 0).sum() > (1 if unbiased else 0)
    return whole / jnp.where(enough, pairs, 1), enough


def in_a_ring(
    kernel: Callable[[Layers, Layers], Array],
    sources: Layers,
    targets: Layers,
    source: Array,
    target: Array,
) -> Array:
    """mean_i k(s_i, s_i+1) + k(t_i, t_i+1) - k(s_i, t_i+1) - k(s_i+1, t_i).

    In linear time; the row behind the last one is the first. Rows of weight 0 are
    skipped, and what one side has more than the other is left out; other weights only
    say that a row is there. 0 where fewer than two are left. `kernel(x, y) -> [N]` of
    rows one by one; layers [N D_l], weights source [N], target [N] -> [].
    """
    place = jnp.arange(len(source))
    real = jnp.minimum((source > 0).sum(), (target > 0).sum())
    more = (place + 1 < real)[:, None]

    def after(layers: Layers) -> Layers:
        return [jnp.where(more, jnp.roll(x, -1, 0), x[:1]) for x in layers]

    s = [x[_real_first(source)] for x in sources]
    t = [x[_real_first(target)] for x in targets]
    s_next, t_next = after(s), after(t)
    values = kernel(s, s_next) + kernel(t, t_next)
    values = values - kernel(s, t_next) - kernel(s_next, t)
    total = jnp.where(place < real, values, 0).sum()
    return jnp.where(real > 1, total / jnp.maximum(real, 1), 0)


def _real_first(weight: Array) -> Array:
    """[N] places, those of weight 0 behind the others."""
    return jnp.argsort(weight <= 0, stable=True)
