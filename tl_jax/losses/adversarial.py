"""Losses of networks that work against each other: domains, classifiers, margins.

A critic's logits are [B 1] or [B] of "this is of the source", or [B 2] with the
source as class 1. Weights [B] are 0 for padding; a mean over nobody is 0.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.types import Array, Key


def reverse(x: Array, strength: Array | float = 1.0) -> Array:
    """x itself, whose gradient is multiplied by -strength (Ganin et al., 2016).

    sg(x) + s (sg(x) - x) for sg the stopped gradient: exactly x, for an s of data too,
    and differentiable as often as one likes. x [...] -> [...].
    """
    still = lax.stop_gradient(x)
    return still + jnp.asarray(strength, x.dtype) * (still - x)


def ramp(
    progress: Array | float, steepness: float = 10.0, low: float = 0.0, high: float = 1
) -> Array:
    """The strength of a reversal as a run goes on (Ganin et al., 2016).

    low + (high - low) (2 / (1 + exp(-a p)) - 1) for p from 0 to 1

    The paper and pytorch-adapt's examples have a = 10; TLlib's layer a = 1 with p the
    step over 1,000, clipped nowhere. progress [] -> [] float32.
    """
    return low + (high - low) * jnp.tanh(jnp.float32(steepness) * progress / 2)


def domain_cross_entropy(logits: Array, source: Array | bool | float) -> Array:
    """Cross entropy of a critic that says which rows are of the source.

    logits [B], [B 1] or [B 2]; `source` [B] or one value for all, 1 for the source
    and 0 for the target -> [B]. Raises ValueError for more logits than 2.
    """
    odds = _odds(logits)
    real = jnp.asarray(source, odds.dtype)
    return jnp.maximum(odds, 0) - odds * real + jnp.log1p(jnp.exp(-jnp.abs(odds)))


def domain_loss(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Array:
    """Half the source's mean cross entropy and half the target's (Ganin et al., 2016).

    1/2 mean_s -log d(x) + 1/2 mean_t -log(1 - d(x))

    As TLlib's `DomainAdversarialLoss`, but that TLlib divides by the number of rows
    where this divides by the sum of the weights. Critic's logits of B and of M rows,
    weights [B], [M] -> [].
    """
    ours = weighted_mean(domain_cross_entropy(source, True), source_weight)
    theirs = weighted_mean(domain_cross_entropy(target, False), target_weight)
    return (ours + theirs) / 2


def domain_accuracy(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Array:
    """The share of rows whose domain a critic says, the mean of both domains -> []."""
    ours = weighted_mean(jnp.float32(_odds(source) > 0), source_weight)
    theirs = weighted_mean(jnp.float32(_odds(target) <= 0), target_weight)
    return (ours + theirs) / 2


def outer(features: Array, shares: Array) -> Array:
    """CDAN's map: all products of a feature and a share (Long et al., 2018).

    features [B D], shares [B C] -> [B C*D], a class after the other as TLlib has it.
    """
    chex.assert_rank([features, shares], [2, 2])
    chex.assert_equal_shape_prefix([features, shares], 1)
    # As a product of matrices its gradients are too, not sums over what is broadcast.
    products = jnp.einsum("bc,bd->bcd", shares, features)
    return products.reshape(len(features), -1)


def random_maps(key: Key, width: int, classes: int, size: int) -> tuple[Array, Array]:
    """CDAN's random matrices, standard normal: ([D S], [C S]) (Long et al., 2018)."""
    one, two = jax.random.split(key)
    return jax.random.normal(one, (width, size)), jax.random.normal(
        two, (classes, size)
    )


def random_outer(features: Array, shares: Array, maps: tuple[Array, Array]) -> Array:
    """A random projection of `outer` (Long et al., 2018).

    (f R_f) * (g R_g) / sqrt(S): scalar products are those of `outer` on average.
    features [B D], shares [B C], maps ([D S], [C S]) -> [B S].
    """
    of_features, of_shares = maps
    size = of_features.shape[1]
    return (features @ of_features) * (shares @ of_shares) / jnp.sqrt(float(size))


def entropy(logits: Array) -> Array:
    """-sum_c p_c log p_c of softmax(logits). logits [B C] -> [B].

    From the logits, so that a share of 0 counts 0 and has a finite slope; TLlib takes
    log(p + 1e-5) of the shares.
    """
    logs = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32), axis=-1)
    return -(jnp.exp(logs) * logs).sum(-1)


def entropy_weights(logits: Array) -> Array:
    """1 + exp(-entropy): CDAN+E's weight of sure rows (Long et al., 2018).

    Without a gradient, as in TLlib, which divides them by their mean over both domains
    where pytorch-adapt's CDAN divides by the largest. logits [B C] -> [B].
    """
    return lax.stop_gradient(1 + jnp.exp(-entropy(logits)))


def classifier_discrepancy(one: Array, two: Array) -> Array:
    """How far two classifiers are apart (Saito et al., 2018, MCD).

    mean_c |softmax(one)_c - softmax(two)_c|. logits [B C], [B C] -> [B].
    """
    chex.assert_equal_shape([one, two])
    p = jax.nn.softmax(jnp.asarray(one, jnp.float32), axis=-1)
    q = jax.nn.softmax(jnp.asarray(two, jnp.float32), axis=-1)
    return jnp.abs(p - q).mean(-1)


def balance(logits: Array, weight: Array | None = None) -> Array:
    """-mean_c log(mean_i p_ic): least where all classes are said equally often.

    MCD's `entropy` in TLlib and in the authors' code (Saito et al., 2018), which keeps
    a batch from falling into one class. logits [B C], weight [B] -> [].
    """
    shares = jax.nn.softmax(jnp.asarray(logits, jnp.float32), axis=-1)
    mean = jax.vmap(weighted_mean, (1, None))(shares, weight)
    return -jnp.log(mean + 1e-6).mean()


def disparity(logits: Array, adversary: Array) -> Array:
    """-log q_y for y the label that `logits` say, q the adversary's shares.

    MDD's loss on the source (Zhang et al., 2019). No gradient goes to `logits`.
    logits [B C], adversary [B C] -> [B].
    """
    chex.assert_equal_shape([logits, adversary])
    logs = jax.nn.log_softmax(jnp.asarray(adversary, jnp.float32), axis=-1)
    return -jnp.take_along_axis(logs, _said(logits), axis=-1)[:, 0]


def margin(logits: Array, adversary: Array) -> Array:
    """-log(1 - q_y) for y the label that `logits` say, q the adversary's shares.

    MDD's loss on the target (Zhang et al., 2019), from the logits: its slope stays
    finite at q_y = 1, where TLlib clips log(1 - q_y + 1e-6) at 0. No gradient goes to
    `logits`. logits [B C], adversary [B C] -> [B].
    """
    chex.assert_equal_shape([logits, adversary])
    scores = jnp.asarray(adversary, jnp.float32)
    said = jnp.arange(scores.shape[-1]) == _said(logits)
    others = jnp.where(said, jnp.finfo(scores.dtype).min / 2, scores)
    return jax.nn.logsumexp(scores, axis=-1) - jax.nn.logsumexp(others, axis=-1)


def wasserstein(
    source: Array,
    target: Array,
    source_weight: Array | None = None,
    target_weight: Array | None = None,
) -> Array:
    """mean_s f - mean_t f: the Wasserstein distance where f is the best critic of
    slope 1 (Shen et al., 2018, WDGRL). Critic's values of B and M rows -> []."""
    ours = weighted_mean(_values(source), source_weight)
    return ours - weighted_mean(_values(target), target_weight)


def gradient_penalty(
    critic: Callable[[Array], Array], x: Array, weight: Array | None = None
) -> Array:
    """mean (|df/dx| - 1)^2 over rows (Gulrajani et al., 2017).

    `critic` maps [B D] to [B] or [B 1], each row by itself. x [B D], weight [B] -> [].
    """
    slopes = jax.grad(lambda rows: _values(critic(rows)).sum())(x)
    square = jnp.square(jnp.asarray(slopes, jnp.float32)).sum(-1)
    length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return weighted_mean(jnp.square(length - 1), weight)


def between(key: Key, source: Array, target: Array) -> Array:
    """Points on the lines from source rows to target rows, uniform on each.

    Row i with row i; the smaller side begins anew where it ends. source [B D],
    target [M D] -> [max(B, M) D].
    """
    rows = max(len(source), len(target))
    place = jnp.arange(rows)
    own, other = source[place % len(source)], target[place % len(target)]
    share = jax.random.uniform(key, (rows, 1), own.dtype)
    return own + share * (other - own)


def weighted_mean(values: Array, weight: Array | None = None) -> Array:
    """sum w v / sum w, 0 where nothing weighs anything. Two of [B] -> []."""
    if weight is None:
        return values.mean()
    chex.assert_equal_shape([values, weight])
    counted = jnp.where(weight > 0, values, 0)  # padding may hold anything
    return (weight * counted).sum() / _nonzero(weight.sum())


def _nonzero(total: Array) -> Array:
    return jnp.where(total > 0, total, 1)


def _said(logits: Array) -> Array:
    """[B 1] the class of the largest logit."""
    return jnp.argmax(lax.stop_gradient(logits), axis=-1, keepdims=True)


def _values(scores: Array) -> Array:
    """A critic's values as float32 [B]."""
    if scores.ndim == 2:
        if scores.shape[1] != 1:
            raise ValueError(f"a critic of {scores.shape[1]} values, expected 1")
        scores = scores[:, 0]
    chex.assert_rank(scores, 1)
    return jnp.asarray(scores, jnp.float32)


def _odds(logits: Array) -> Array:
    """log d / (1 - d) of a critic's logits -> float32 [B]."""
    if logits.ndim == 2 and logits.shape[1] == 2:
        logits = jnp.asarray(logits, jnp.float32)
        return logits[:, 1] - logits[:, 0]
    if logits.ndim == 2 and logits.shape[1] != 1:
        raise ValueError(f"a critic of {logits.shape[1]} logits, expected 1 or 2")
    return _values(logits)
