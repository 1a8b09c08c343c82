"""Sliced Wasserstein distance: transport along random lines, where it is a sort."""

import jax
import jax.numpy as jnp

from tl_jax.losses.discrepancy.estimates import rows, weights
from tl_jax.types import Array, Key


def sliced_wasserstein(
    key: Key,
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
    *,
    lines: int = 128,
) -> Array:
    """Mean squared 2-Wasserstein distance along random lines (Bonneel et al., 2015).

    mean_u int_0^1 (F_u^-1(p) - G_u^-1(p))^2 dp

    for F_u, G_u the weighted distributions of <u, s> and <u, t>, u even on the sphere.
    For equally many rows without weights the integral is mean_i (s_(i) - t_(i))^2 of
    sorted rows. pytorch-adapt's `SlicedWasserstein` is that, on any two batches of one
    size (of class predictions, in the two classifiers of Lee et al., 2019); POT's
    `sliced_wasserstein_distance` is its square root.

    source [N D], target [M D], weights [N], [M] (0 for padding) -> []; 0 where a side
    weighs nothing. Raises ValueError for widths that differ and for no lines.
    """
    if lines < 1:
        raise ValueError(f"sliced_wasserstein: lines is {lines}, expected at least 1")
    source, target = rows("sliced_wasserstein", source, target)
    along = jax.random.normal(key, (source.shape[1], lines), source.dtype)
    along = along / jnp.linalg.norm(along, axis=0)
    x = jnp.matmul(source, along, precision="highest").T
    y = jnp.matmul(target, along, precision="highest").T
    if len(source) == len(target) and source_weight is None and target_weight is None:
        return jnp.square(jnp.sort(x) - jnp.sort(y)).mean()
    first, second = weights(source, source_weight), weights(target, target_weight)
    both = jax.vmap(_on_a_line, (0, 0, None, None))(x, y, first, second).mean()
    return jnp.where((first.sum() > 0) & (second.sum() > 0), both, 0)


def _on_a_line(x: Array, y: Array, first: Array, second: Array) -> Array:
    """int (F^-1 - G^-1)^2 of weighted numbers. x [N], y [M], weights [N], [M] -> []."""
    x, upto = _sorted(x, first)
    y, until = _sorted(y, second)
    steps = jnp.sort(jnp.concatenate([upto, until]))
    lengths = jnp.diff(steps, prepend=0)
    inside = steps - lengths / 2
    i = jnp.searchsorted(upto, inside).clip(0, len(x) - 1)
    j = jnp.searchsorted(until, inside).clip(0, len(y) - 1)
    return (lengths * jnp.square(x[i] - y[j])).sum()


def _sorted(x: Array, weight: Array) -> tuple[Array, Array]:
    """Numbers from the smallest, and the share of weight up to each."""
    order = jnp.argsort(x)
    upto = jnp.cumsum(weight[order])
    return x[order], upto / jnp.where(upto[-1] > 0, upto[-1], 1)
