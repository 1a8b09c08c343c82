"""Losses against a model's own predictions: pseudo-labels and agreement of views.

Per-example values [B], 0 where a pseudo-label is not believed: whoever reduces divides
by the whole batch, so that few sure examples weigh little.
"""

from typing import Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp

from tl_jax.losses.supervised import cross_entropy
from tl_jax.tree import one_of
from tl_jax.types import Array

Mapping = Literal["convex", "linear", "concave"]


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


def rise(progress: Array, share: float) -> Array:
    """exp(-5 (1 - progress / share)^2), 1 from `share` on (Laine and Aila, 2017).

    progress [] in 0..1 -> []; a share of 0 is 1 throughout. Raises ValueError for a
    share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"rise: share is {share}, expected 0..1")
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


def class_thresholds(
    labels: Array,
    classes: int,
    threshold: float,
    *,
    mapping: Mapping = "convex",
    warm_up: bool = True,
    count: int | None = None,
) -> Array:
    """FlexMatch's threshold of each class, by how often it was learnt (Zhang, 2021).

    tau M(n_c / max_k n_k),   M(x) = x / (2 - x), x, or ln(1 + x) / ln 2

    n_c counts the examples of `labels` that were last believed to be of class c; -1 is
    nobody's. With `warm_up` the denominator is at least the number of those that no
    class has, out of `count` (all of `labels` by default), as in the paper. TLlib
    leaves that off by default; then both give 0 while nobody was believed at all.
    labels [N] int -> [C]. Raises `NoMatch` for an unknown mapping.
    """
    place = jnp.where(labels < 0, classes, labels)  # outside: dropped
    learnt = jnp.zeros(classes).at[place].add(1, mode="drop")
    most = learnt.max()
    if warm_up:
        total = len(labels) if count is None else count
        most = jnp.maximum(most, total - learnt.sum())
    return threshold * mapped(learnt / jnp.maximum(most, 1), mapping)


def mapped(x: Array, mapping: Mapping) -> Array:
    """x / (2 - x), x, or ln(1 + x) / ln 2: all go from 0 to 1.

    Raises `NoMatch` for an unknown mapping.
    """
    one_of("mapping", mapping, get_args(Mapping))
    if mapping == "convex":
        return x / (2 - x)
    return x if mapping == "linear" else jnp.log1p(x) / jnp.log(2.0)


def relabelled(labels: Array, index: Array, said: Believed, weight: Array) -> Array:
    """`labels` with what was believed of the rows at `index`, the last of equal ones.

    labels [N] int, index [B], weight [B] with 0 for padding -> [N].
    """
    rows = jnp.arange(len(index))
    real = (weight > 0) & (said.mask > 0) & (index >= 0)
    place = jnp.where(real, index, len(labels))  # outside: dropped
    last = jnp.full(len(labels), -1).at[place].max(rows, mode="drop")
    return jnp.where(last >= 0, said.labels[last].astype(labels.dtype), labels)
