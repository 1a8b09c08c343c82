"""Gradient rules: how the gradient of an objective is taken."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax.types import Array, Batch, GradientRule, Key


def plain(f: Callable, train: Any, batch: Batch, key: Key):
    """The gradient by reverse mode."""
    return jax.value_and_grad(f, has_aux=True)(train, batch, key)


def clipped(norm: float, grad: GradientRule = plain) -> GradientRule:
    """Scale gradients so that their norm over all moving leaves is at most `norm`.

    g <- g min(1, norm / |g|) (Pascanu et al., 2013). As a rule it sees all leaves of
    all players that descend together, whatever groups of optax states they have.
    """

    def rule(f: Callable, train: Any, batch: Batch, key: Key):
        (value, (memory, metrics)), grads = grad(f, train, batch, key)
        size = optax.tree.norm(grads)
        factor = norm / jnp.maximum(size, norm)
        grads = jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)
        return (value, (memory, metrics | {"gradient_norm": size})), grads

    return rule


def accumulated(
    parts: int, weigh: Callable[[Batch], Array], grad: GradientRule = plain
) -> GradientRule:
    """Take the gradient in `parts` microbatches under one scan.

    `weigh(batch) -> []` is what the objective divides by: microbatches are averaged in
    proportion, so that the result is the gradient of the whole batch, uneven padding
    and class weights included. Memory and metrics are averaged alike; dropout draws
    anew in every part. Raises ValueError if a stream's rows do not divide.
    """

    def rule(f: Callable, train: Any, batch: Batch, key: Key):
        def split(leaf: Array) -> Array:
            if leaf.shape[0] % parts:
                raise ValueError(
                    f"{leaf.shape[0]} rows do not divide into {parts} microbatches"
                )
            micro = leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:])
            return micro.swapaxes(0, 1)  # row i to part i mod parts: no device's move

        micro = jax.tree.map(split, batch)
        weights = jax.vmap(weigh)(micro)
        shares = weights / jnp.maximum(weights.sum(), 1e-12)

        def taken(own: Batch, key: Key):
            return grad(f, train, own, key)

        def one(total: Any, part: tuple[Batch, Key, Array]):
            own, key, share = part
            return _add(total, taken(own, key), share), None

        first = jax.tree.map(lambda leaf: leaf[0], micro)
        shapes = jax.eval_shape(taken, first, key)
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        keys = jax.random.split(key, parts)
        return jax.lax.scan(one, zeros, (micro, keys, shares))[0]

    return rule


def _add(total: Any, new: Any, share: Array) -> Any:
    """total + share * new for floats; counters and the like take the new value."""

    def leaf(old: Array, new: Array) -> Array:
        floating = jnp.issubdtype(new.dtype, jnp.floating)
        return old + share.astype(new.dtype) * new if floating else new

    return jax.tree.map(leaf, total, new)
