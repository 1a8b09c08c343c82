"""Losses of pairs within a set: per-example values [B] over an example's partners."""

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.similarity import cosines
from tl_jax.types import Array


def pair_error(z: Array, labels: Array, weight: Array | None = None) -> Array:
    """Squared error of cosines to 1 within a class and to 0 across (Reimers, 2019).

    1/2 mean_{j: y_j = y_i} (cos(z_i, z_j) - 1)^2 + 1/2 mean_{j: y_j /= y_i} cos^2

    Over all pairs with another example; each kind counts a half, as where equally many
    of both are drawn (Tunstall et al., 2022). A mean over nobody is 0. z [B D], labels
    [B], weight [B] of the partners -> [B].
    """
    near = cosines(z, z)
    mate, other = _partners(labels, weight, near)
    return (_mean(jnp.square(near - 1), mate) + _mean(jnp.square(near), other)) / 2


def supervised_contrastive(
    z: Array, labels: Array, weight: Array | None = None, temperature: float = 0.1
) -> Array:
    """Pull rows of one label together among all others (Khosla et al., 2020).

    -mean_{j: y_j = y_i} log(exp(s_ij) / sum_{k /= i} exp(s_ik)), s = cos(z, z) / t

    0 for an example without a mate. z [B D], labels [B], weight [B] of the partners
    -> [B].
    """
    scores = cosines(z, z) / temperature
    mate, other = _partners(labels, weight, scores)
    every = mate + other
    shown = jnp.where(every > 0, scores, jnp.finfo(scores.dtype).min / 2)
    logs = jnp.log(jnp.where(every > 0, every, 1))
    logp = scores - jax.nn.logsumexp(shown + logs, axis=-1, keepdims=True)
    return -_mean(logp, mate)


def _partners(labels: Array, weight: Array | None, like: Array) -> tuple[Array, Array]:
    """[B B] weights of the others of an example's own class, and of the rest."""
    chex.assert_shape(labels, (len(like),))
    weight = jnp.ones(len(like)) if weight is None else weight
    same = labels[:, None] == labels
    others = weight.astype(like.dtype) * ~jnp.eye(len(like), dtype=bool)
    return jnp.where(same, others, 0), jnp.where(same, 0, others)


def _mean(x: Array, weight: Array) -> Array:
    """Weighted means over the last axis, 0 where nothing weighs anything."""
    total = weight.sum(-1)
    return (weight * x).sum(-1) / jnp.where(total > 0, total, 1)
