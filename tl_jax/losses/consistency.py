"""Losses against a model's own predictions: pseudo-labels and agreement of views.

Per-example values [B], 0 where a pseudo-label is not believed: whoever reduces divides
by the whole batch, so that few sure examples weigh little.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.supervised import cross_entropy
from tl_jax.types import Array


class Believed(NamedTuple):
    """What a prediction is taken to say."""

    labels: Array
    """[B] the likeliest class."""
    mask: Array
    """[B] float32: 1 where it is sure enough, else 0."""
    confidence: Array
    """[B] the likeliest class's probability."""


def believed(logits: Array, threshold: float | Array) -> Believed:
    """The likeliest classes, and whether max_c p_c >= threshold. No gradient.

    As in the paper of FixMatch (Sohn et al., 2020); TLlib's comparison is strict.
    logits [B C], threshold [] or, class by class, [C].
    """
    chex.assert_rank(logits, 2)
    logits = jnp.asarray(jax.lax.stop_gradient(logits), jnp.float32)
    p = jax.nn.softmax(logits, axis=-1)
    labels, confidence = p.argmax(-1), p.max(-1)
    least = jnp.asarray(threshold, jnp.float32)
    if least.ndim:
        chex.assert_shape(least, (logits.shape[-1],))
        least = least[labels]
    return Believed(labels, (confidence >= least).astype(jnp.float32), confidence)


def pseudo_label_loss(
    logits: Array, reference: Array, threshold: float | Array
) -> Array:
    """1(max q >= threshold) times the cross entropy with argmax q (Lee, 2013).

    q is the softmax of `reference`, without a gradient: the same logits, or a weaker
    view's (Sohn et al., 2020). logits [B C], reference [B C], threshold [] or [C]
    -> [B].
    """
    chex.assert_equal_shape([logits, reference])
    labels, mask, _ = believed(reference, threshold)
    return mask * cross_entropy(logits, labels)


def squared_consistency(logits: Array, reference: Array) -> Array:
    """sum_c (p_c - q_c)^2 of two softmaxes, q without a gradient (Tarvainen, 2017).

    A sum over classes as in TLlib; the paper's own program takes their mean, so that
    its strength is C times ours. logits [B C], reference [B C] -> [B].
    """
    chex.assert_rank(logits, 2)
    chex.assert_equal_shape([logits, reference])
    p, q = (jax.nn.softmax(jnp.asarray(x, jnp.float32)) for x in (logits, reference))
    return jnp.square(p - jax.lax.stop_gradient(q)).sum(-1)


def distillation(logits: Array, reference: Array, temperature: float = 1.0) -> Array:
    """Cross entropy of two softened predictions (Hinton et al., 2015).

    -sum_c q_c log p_c, p and q the softmaxes over a temperature, q without a gradient.
    Not scaled by temperature^2, as TLlib's noisy student. logits [B C], reference
    [B C] -> [B].
    """
    chex.assert_rank(logits, 2)
    chex.assert_equal_shape([logits, reference])
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected above 0")
    reference = jnp.asarray(jax.lax.stop_gradient(reference), jnp.float32)
    return cross_entropy(logits / temperature, jax.nn.softmax(reference / temperature))


def ramp(progress: Array, share: float) -> Array:
    """exp(-5 (1 - progress / share)^2), 1 from `share` on (Laine and Aila, 2017).

    progress [] in 0..1 -> []; a share of 0 is 1 throughout. Raises ValueError for a
    share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"ramp: share is {share}, expected 0..1")
    if not share:
        return jnp.ones_like(progress)
    return jnp.exp(-5 * jnp.square(1 - jnp.minimum(progress / share, 1)))


def line(progress: Array, begin: float, end: float) -> Array:
    """0 up to `begin`, then a line to 1 at `end` (Lee, 2013). progress [] -> [].

    Raises ValueError unless 0 <= begin <= end <= 1.
    """
    if not 0 <= begin <= end <= 1:
        raise ValueError(f"line: {begin} to {end}, expected 0 <= begin <= end <= 1")
    if begin == end:
        return jnp.where(progress >= begin, 1.0, 0.0)
    return jnp.clip((progress - begin) / (end - begin), 0, 1)
