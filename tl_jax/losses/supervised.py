"""Losses against labels: per-example values [B], float32 whatever the logits are.

Objectives weight and reduce. A label that names no class gives NaN, so that a mistake
in the data shows in the first logged loss.
"""

import chex
import jax.numpy as jnp
import optax

from tl_jax.types import Array

OFF = 1e-2
"""How far shares may be from a sum of 1: those of half precision are."""


def cross_entropy(logits: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """Softmax cross entropy, with label smoothing (Szegedy et al., 2016).

    -(1 - s) sum_c y[c] log p[c] - s mean_c log p[c]

    logits [B C], labels [B] int or, of mixed examples, [B C] float shares -> [B]. NaN
    where a label is outside 0..C-1 and where shares are negative or do not sum to 1.
    Raises ValueError for a smoothing outside 0..1.
    """
    chex.assert_rank([logits, labels], [2, {1, 2}])
    if jnp.ndim(labels) == 2:
        chex.assert_equal_shape([logits, labels])
        chex.assert_type(labels, float)
    chex.assert_equal_shape_prefix([logits, labels], 1)
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"smoothing is {smoothing}, expected 0..1")
    logits = jnp.asarray(logits, jnp.float32)
    if jnp.ndim(labels) == 2:
        return _soft_cross_entropy(logits, labels, smoothing)
    return _cross_entropy(logits, labels, smoothing)


def _soft_cross_entropy(logits: Array, shares: Array, smoothing: float) -> Array:
    """logits [B C] float32, shares [B C] -> [B]."""
    shares = jnp.asarray(shares, jnp.float32)
    known = (shares >= 0).all(-1) & (jnp.abs(shares.sum(-1) - 1) < OFF)
    target = (1.0 - smoothing) * shares + smoothing / logits.shape[-1]
    target = jnp.where(known[:, None], target, 0.0)
    return jnp.where(known, optax.losses.softmax_cross_entropy(logits, target), jnp.nan)


def _cross_entropy(logits: Array, labels: Array, smoothing: float = 0.0) -> Array:
    """logits [... C] float32, labels [...] -> [...]."""
    classes = logits.shape[-1]
    known = (labels >= 0) & (labels < classes)
    label = jnp.where(known, labels, 0)
    loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
    if smoothing:
        uniform = jnp.full(classes, 1.0 / classes)
        even = optax.losses.softmax_cross_entropy(logits, uniform)
        loss = (1.0 - smoothing) * loss + smoothing * even
    return jnp.where(known, loss, jnp.nan)


def squared_error(predictions: Array, targets: Array) -> Array:
    """(prediction - target)^2. predictions [B] or [B 1], targets [B] -> [B]."""
    if jnp.ndim(predictions) == 2:
        chex.assert_axis_dimension(predictions, 1, 1)
        predictions = predictions[:, 0]
    chex.assert_rank([predictions, targets], [1, 1])
    chex.assert_equal_shape([predictions, targets])
    predictions = jnp.asarray(predictions, jnp.float32)
    return optax.losses.squared_error(predictions, jnp.asarray(targets, jnp.float32))


def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """Sigmoid cross entropy for several labels at once, averaged over the classes.

    mean_c -(y log s(x) + (1 - y) log s(-x)) for s the sigmoid

    logits [B C], labels [B C] in 0..1 -> [B].
    """
    chex.assert_rank([logits, labels], [2, 2])
    chex.assert_equal_shape([logits, labels])
    logits = jnp.asarray(logits, jnp.float32)
    labels = jnp.asarray(labels, jnp.float32)
    return optax.losses.sigmoid_binary_cross_entropy(logits, labels).mean(-1)


def labelled(labels: Array, ignore: int = -100) -> Array:
    """How many tokens of each example have a label. labels [B T] -> [B] float32.

    Weighting `token_cross_entropy` by it gives the mean over all tokens of a batch.
    """
    chex.assert_rank(labels, 2)
    return (labels != ignore).sum(-1).astype(jnp.float32)


def token_cross_entropy(
    logits: Array, labels: Array, *, ignore: int = -100, smoothing: float = 0.0
) -> Array:
    """Cross entropy averaged over an example's labelled tokens; 0 where it has none.

    logits [B T C], labels [B T] int, `ignore` where there is no label -> [B];
    `smoothing` as in `cross_entropy`.
    """
    chex.assert_rank([logits, labels], [3, 2])
    chex.assert_equal_shape_prefix([logits, labels], 2)
    known = labels != ignore
    losses = _cross_entropy(
        jnp.asarray(logits, jnp.float32), jnp.where(known, labels, 0), smoothing
    )
    total = jnp.where(known, losses, 0.0).sum(-1)
    return total / jnp.maximum(labelled(labels, ignore), 1.0)


def next_token_cross_entropy(
    logits: Array, labels: Array, *, ignore: int = -100
) -> Array:
    """Cross entropy of each labelled token, said by the one in front of it, averaged.

    logits [B T C] of a causal model, labels [B T] int: the row's own tokens where they
    are to be learned, `ignore` elsewhere -> [B]; 0 for a row without any. The first
    token has nothing in front, so that nobody learns it.
    """
    return token_cross_entropy(logits[:, :-1], labels[:, 1:], ignore=ignore)


def span_cross_entropy(logits: Array, spans: Array, mask: Array) -> Array:
    """Cross entropy of a span's first and last token, averaged (Devlin et al., 2019).

    The softmax runs over the tokens of `mask`. A position outside 0..T-1 (an answer
    that was cut off) counts 0; one in the padding gives NaN.

    logits [B T 2], spans [B 2] int (first, last), mask [B T] -> [B].
    """
    chex.assert_rank([logits, spans, mask], [3, 2, 2])
    chex.assert_equal_shape_prefix([logits, mask], 2)
    chex.assert_shape([logits, spans], [(None, None, 2), (logits.shape[0], 2)])
    mask = jnp.asarray(mask, bool)
    scores = jnp.moveaxis(jnp.asarray(logits, jnp.float32), -1, 1)
    scores = jnp.where(mask[:, None], scores, jnp.finfo(jnp.float32).min / 2)
    inside = (spans >= 0) & (spans < mask.shape[1])
    position = jnp.where(inside, spans, 0)
    padding = inside & ~jnp.take_along_axis(mask, position, axis=1)
    losses = jnp.where(inside, _cross_entropy(scores, position), 0.0)
    return jnp.where(padding, jnp.nan, losses).mean(-1)
