"""Means of domains and of classes brought together, with soft labels."""

import chex
import jax.numpy as jnp

from tl_jax.types import Array


def soft_means(
    source: Array,
    source_classes: Array,
    target: Array,
    target_classes: Array,
    source_weight: Array,
    target_weight: Array,
    trust: Array,
) -> Array:
    """Soft-MMD (Yao et al., 2019): means of all rows, and of each class's.

    |mean s - mean t|^2 + sum_c |sum_i p_ic s_i / sum_i p_ic
                                 - sum_j r_j q_jc t_j / sum_j r_j q_jc|^2

    p [B C] and q [M C] are labels, one-hot or soft, r = `trust` [M] how much a target
    row's counts: 1 where it is known, the share of training that is done where it is
    guessed. A class that either side lacks adds nothing, where the authors' quotient
    of nothing is 0 / 0. source [B D], target [M D], weights [B], [M] -> [].
    """
    chex.assert_rank([source, source_classes, target, target_classes], 2)
    whole = _mean(source, source_weight) - _mean(target, target_weight)
    p = source_classes * source_weight[:, None]
    q = target_classes * (target_weight * trust)[:, None]
    counts = p.sum(0), q.sum(0)
    one, other = (
        shares.T @ rows / jnp.maximum(count, 1e-12)[:, None]
        for shares, rows, count in zip((p, q), (source, target), counts, strict=True)
    )
    both = (counts[0] > 0) & (counts[1] > 0)
    apart = jnp.where(both, jnp.square(one - other).sum(-1), 0.0)
    return jnp.square(whole).sum() + apart.sum()


def _mean(rows: Array, weight: Array) -> Array:
    return weight @ rows / jnp.maximum(weight.sum(), 1e-12)
