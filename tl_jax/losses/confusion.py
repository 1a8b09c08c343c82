"""Losses of unlabelled logits: how mixed up and how varied predictions are.

`adversarial.entropy` says how sure each one is.
"""

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.adversarial import entropy, entropy_weights, weighted_mean
from tl_jax.types import Array

TINY = 1e-6
"""Singular values below this share of the largest are 0 and have no slope."""


def class_confusion(
    logits: Array, weight: Array | None = None, temperature: float = 2.5
) -> Array:
    """Minimum class confusion: how often two classes are said together (Jin, 2020).

    1/C sum_{j /= k} K_jk / sum_l K_jl,   K = P^T diag(w (1 + exp(-H))) P

    P is the softmax of logits / temperature, H the entropy of a row of it, without a
    gradient. A class that nobody is given any share of counts 0. TLlib and
    pytorch-adapt divide by sums over the other axis, which is the same since K is
    symmetric, and scale the weights to a mean of 1, which cancels. logits [B C], weight
    [B] with 0 for padding -> [].
    """
    weight, logits = _weight(logits, weight), _softened(logits, temperature)
    p, sure = jax.nn.softmax(logits), weight * entropy_weights(logits)
    together = jnp.einsum("bj,b,bk->jk", p, sure, p)
    total = together.sum(-1)
    share = jnp.diagonal(together) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, 1 - share, 0).mean()


def diversity(
    logits: Array, weight: Array | None = None, temperature: float = 1.0
) -> Array:
    """Negative entropy of the mean prediction, sum_c q_c log q_c, q = mean_i p_i.

    Least, -log C, where all classes are said equally often. pytorch-adapt's
    DiversityLoss is the same. logits [B C], weight [B] -> [].
    """
    weight = _weight(logits, weight)
    p = jax.nn.softmax(_softened(logits, temperature))
    q = weight @ p / jnp.maximum(weight.sum(), 1e-12)
    return (q * jnp.log(jnp.where(q > 0, q, 1))).sum()


def information_loss(
    logits: Array, weight: Array | None = None, temperature: float = 1.0
) -> Array:
    """Negative information between input and class: mean_i H(p_i) - H(mean_i p_i).

    (Krause et al., 2010; Liang et al., 2020, as SHOT's). At most 0, at least -log C.
    logits [B C], weight [B] -> [].
    """
    own = weighted_mean(entropy(_softened(logits, temperature)), weight)
    return own + diversity(logits, weight, temperature)


def nuclear_norm(logits: Array, weight: Array | None = None) -> Array:
    """Batch nuclear-norm maximisation: -sum_i s_i(P) / B (Cui et al., 2020).

    P are the softmaxes: sure and varied predictions have the largest sum of singular
    values. Rows of weight 0 are left out and B is the number of the others; other
    weights count as 1. pytorch-adapt's BNMLoss is the same; near-zero values have no
    slope here, and torch's there is arbitrary. logits [B C], weight [B] -> [].
    """
    rows = _weight(logits, weight) > 0
    p = jax.nn.softmax(_softened(logits))
    values = jnp.linalg.svd(jnp.where(rows[:, None], p, 0), compute_uv=False)
    large = values > TINY * values[0]
    return -jnp.where(large, values, 0).sum() / jnp.maximum(rows.sum(), 1)


def _softened(logits: Array, temperature: float = 1.0) -> Array:
    """logits / temperature, float32. Raises ValueError unless it is above 0."""
    chex.assert_rank(logits, 2)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected above 0")
    return jnp.asarray(logits, jnp.float32) / temperature


def _weight(logits: Array, weight: Array | None) -> Array:
    """[B] the weights, or ones."""
    if weight is None:
        return jnp.ones(len(logits), jnp.float32)
    chex.assert_shape(weight, (len(logits),))
    return jnp.asarray(weight)
