"""Linear probes: a convex fit on frozen features, chosen on validation examples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.estimators import checks
from tl_jax.estimators.logistic import Problem, regularisation_path
from tl_jax.estimators.standard import Probe, choose, standard
from tl_jax.types import Array

STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-8, 3))
"""A log grid of L2 strengths, 1e-4 to 10."""


def fit(
    features: Array,
    labels: Array,
    *,
    classes: int,
    validation: tuple[Array, Array] | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
    weight: Array | None = None,
    tolerance: float = 1e-6,
    steps: int = 1000,
) -> Probe:
    """Logistic regression on standardised features (Alain and Bengio, 2017).

    sum_n w_n CE(z_n W + b, y_n) / sum_n w_n + strength / 2 |W|^2

    z has mean 0 and deviation 1 over the weighted training examples; b bears no
    penalty. Each strength is solved by L-BFGS until the gradient's norm is at most
    `tolerance`, from the strongest to the weakest, starting at the last solution. The
    best validation accuracy wins, of equals the strongest penalty. scikit-learn's C
    is 1 / (strength sum_n w_n), for two classes 2 / (strength sum_n w_n).

    All in float32: with a strength below 1e-4 it may stop short of the tolerance, and
    `converged` says so. Everything traces; values are checked outside a trace only.

    features [N D], labels [N] int in 0..C-1, weight [N] (0 leaves a row out),
    validation (features [V D], labels [V]). Raises ValueError for shapes that do not
    fit, features that are not finite (with the row), labels out of range, a single
    class, and several strengths without validation.
    """
    weight = np.ones(len(labels), np.float32) if weight is None else weight
    _check(features, labels, classes, validation, strengths, weight)
    features = jnp.asarray(features, jnp.float32)
    weight = jnp.asarray(weight, jnp.float32)
    weight = weight / weight.sum()
    scale = standard(features, weight)
    labels = jnp.asarray(labels, jnp.int32)
    problem = Problem(scale(features), labels, weight, jnp.float32(0))
    order = np.argsort(-np.asarray(strengths), kind="stable")
    path = jnp.asarray(np.asarray(strengths, np.float32)[order])
    found = regularisation_path(problem, path, classes, tolerance, steps)
    heads, converged = jax.tree.map(lambda leaf: leaf[np.argsort(order)], found)
    kernels, biases = scale.fold(heads.kernel, heads.bias)
    scores = _accuracies(kernels, biases, validation)
    return choose(kernels, biases, strengths, scores, converged)


def _check(
    features: Array,
    labels: Array,
    classes: int,
    validation: tuple[Array, Array] | None,
    strengths: tuple[float, ...],
    weight: Array,
) -> None:
    """Raise ValueError for what `fit` cannot use."""
    checks.check_shapes(features, labels, weight)
    checks.check_strengths(strengths)
    if len(strengths) > 1 and validation is None:
        raise ValueError(
            f"{len(strengths)} strengths need validation=(features, labels) "
            "to choose from; give it, or one strength"
        )
    checks.check_finite("features", features)
    checks.check_labels("labels", labels, classes)
    checks.check_weight(weight)
    checks.check_several(labels, weight)
    checks.check_validation(features, validation)
    if validation is not None:
        checks.check_labels("validation labels", validation[1], classes)


def _accuracies(kernels: Array, biases: Array, validation: Any) -> Array:
    """[S] share of right validation examples, NaN without any."""
    if validation is None:
        return jnp.full(len(kernels), jnp.nan)
    features, labels = validation
    logits = jnp.asarray(features, jnp.float32) @ kernels + biases[:, None]
    return (logits.argmax(-1) == jnp.asarray(labels)).mean(-1)
