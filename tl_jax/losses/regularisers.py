"""What is added to a loss so that fine-tuning keeps, or gives up, what was there."""

from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp

from tl_jax.types import Array


def squared_distance(tree: Any, start: Any = None) -> Array:
    """Half the squared distance of all leaves to a start (Li et al., 2018).

    1/2 sum |w - w0|^2, or 1/2 sum |w|^2 without a start. Holes count nothing; both
    trees have the same ones. -> [] float32.
    """
    leaves = jax.tree.leaves(tree)
    starts = [0.0] * len(leaves) if start is None else jax.tree.leaves(start)
    total = jnp.float32(0)
    for leaf, begun in zip(leaves, starts, strict=True):
        total += jnp.square(jnp.asarray(leaf, jnp.float32) - begun).sum()
    return total / 2


def spectral_shrinkage(
    features: Array, k: int = 1, weight: Array | None = None
) -> Array:
    """Squares of the k smallest singular values of features (Chen et al., 2019).

    sum_{i <= k} s_{-i}^2 for F = U diag(s) V^T, all rows of a batch together. Rows of
    weight 0 are left out: of r others there are min(r, D) singular values, all of
    which count where k is more. features [B D], weight [B] -> []. Raises ValueError
    for a k below 1.
    """
    if k < 1:
        raise ValueError(f"spectral_shrinkage: k is {k}, expected at least 1")
    chex.assert_rank(features, 2)
    features = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    rows = jnp.ones(len(features), bool) if weight is None else weight > 0
    values = jnp.linalg.svd(jnp.where(rows[:, None], features, 0), compute_uv=False)
    real = jnp.minimum(rows.sum(), features.shape[1])  # the others are of empty rows
    place = jnp.arange(len(values))
    chosen = (place < real) & (place >= real - k)
    return jnp.where(chosen, jnp.square(values), 0).sum()


def feature_distance(
    maps: Sequence[Array],
    start: Sequence[Array],
    mask: Array | None = None,
    attention: Sequence[Array] | None = None,
) -> Array:
    """Distance of a network's feature maps to those it began with (Li et al., 2019).

    1/2 sum_layers sum_c a_c mean_places (f_c - f0_c)^2

    The places are those of a picture, or the tokens of `mask`; where maps hold more
    tokens than it, they stand in front and are left out. `attention` holds a_c [D] for
    each layer, 1 on average; 1 for all without it, which is the paper's L2-FE.
    `maps` and `start` are sequences of [B ... D], mask [B T] -> [B]. Raises ValueError
    for layers that don't correspond.
    """
    if len(maps) != len(start):
        raise ValueError(f"feature_distance: {len(maps)} maps, {len(start)} starts")
    weights = [1.0] * len(maps) if attention is None else attention
    if len(weights) != len(maps):
        raise ValueError(
            f"feature_distance: {len(maps)} maps, attention to {len(weights)}"
        )
    total = jnp.zeros(len(maps[0]), jnp.float32)
    for new, old, own in zip(maps, start, weights, strict=True):
        chex.assert_equal_shape([new, old])
        square = jnp.square(jnp.asarray(new, jnp.float32) - old)
        total += _over_places((square * own).sum(-1), mask) / 2
    return total


def _over_places(values: Array, mask: Array | None) -> Array:
    """The mean over all places of each example. values [B ...], mask [B T] -> [B]."""
    if mask is None or values.ndim != 2:
        return values.reshape(len(values), -1).mean(-1)
    shown = jnp.asarray(mask, bool)
    own = jnp.where(shown, values[:, values.shape[1] - shown.shape[1] :], 0)
    return own.sum(-1) / jnp.maximum(shown.sum(-1), 1)
