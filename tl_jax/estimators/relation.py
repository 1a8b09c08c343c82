"""What a pretrained head says of new classes, and how sure it should be of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tl_jax.estimators import checks
from tl_jax.minimise import minimise
from tl_jax.types import Array


class _Held(NamedTuple):
    logits: Array
    labels: Array


def temperature(
    logits: Array, labels: Array, *, tolerance: float = 1e-5, steps: int = 100
) -> Array:
    """The T > 0 that makes softmax(logits / T) likeliest (Guo et al., 2017).

    argmin_T mean_n -log softmax(logits_n / T)[y_n], over held-out examples of what the
    head was trained on, whose classes the labels are. logits [N S], labels [N] -> [].
    Raises ValueError for shapes or labels that do not fit.
    """
    _check(logits, labels, np.shape(logits)[-1])
    held = _Held(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.int32))
    found, _ = minimise(_likelihood, jnp.float32(0), held, tolerance, steps)
    return jnp.exp(found)


def category_relation(
    logits: Array, labels: Array, *, classes: int, temperature: float | Array = 1.0
) -> Array:
    """p(source class | class): what the source head says of a class's examples.

    q(s | c) = mean_{n: y_n = c} softmax(logits_n / T)[s]   (You et al., 2020, direct)

    Their other way, Bayes' rule on a regression of classes on the probabilities, is
    not here. logits [N S], labels [N] int in 0..C-1 -> [C S]. Raises ValueError for
    shapes or labels that do not fit, a T that is not positive, or a class of which
    there is no example.
    """
    _check(logits, labels, classes)
    if not checks.traced(temperature) and not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0")
    if not checks.traced(labels):
        counts = np.bincount(np.asarray(labels), minlength=classes)
        if missing := np.flatnonzero(counts == 0).tolist():
            raise ValueError(f"class {missing[0]} has no example to relate it by")
    odds = jax.nn.softmax(jnp.asarray(logits, jnp.float32) / temperature)
    member = jax.nn.one_hot(labels, classes)
    return member.T @ odds / member.sum(0)[:, None]


def _check(logits: Array, labels: Array, classes: int) -> None:
    checks.check_shapes(logits, labels, name="source logits:")
    checks.check_finite("source logits", logits)
    checks.check_labels("labels", labels, classes)


def _likelihood(log_temperature: Array, held: _Held) -> Array:
    scaled = held.logits / jnp.exp(log_temperature)
    cross = optax.losses.softmax_cross_entropy_with_integer_labels
    return cross(scaled, held.labels).mean()
