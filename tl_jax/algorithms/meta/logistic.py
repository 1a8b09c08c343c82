"""Logistic regression as the last layer of a few-shot learner."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.conjugate import conjugate
from tl_jax.algorithms.meta.heads import Head, Number, check_positive, number, on_model
from tl_jax.algorithms.meta.learner import Learner, Norm
from tl_jax.losses.similarity import unit
from tl_jax.minimise import minimise
from tl_jax.types import Array, Model, Outputs, Params, Stream


class Linear(NamedTuple):
    """What is solved for."""

    kernel: Array
    bias: Array


class Problem(NamedTuple):
    """The data of one fit."""

    z: Array
    """[N D]"""
    member: Array
    """[N C] weights at the rows' own classes, of sum 1."""
    present: Array
    """[C]"""
    strength: Array


def logistic(
    model: Model,
    ways: int,
    *,
    strength: Number = 0.01,
    normalise: bool = False,
    frozen: bool = False,
    tolerance: float = 1e-5,
    steps: int = 200,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """Logistic regression on the support set's features, differentiated implicitly.

    W, b = argmin sum_i w_i CE(z_i W + b, y_i) / sum_i w_i + strength / 2 |W|^2

    (Bertinetto et al., 2019, who take a few Newton steps; Lorraine et al., 2020.)
    L-BFGS from zeros until the gradient's norm is at most `tolerance` (float32 may
    stop a little short of a smaller one) or for `steps`; derivatives are those of the
    minimum, by conjugate gradients, in both modes and of any order. `normalise` takes
    z / |z| (Tian et al., 2020); `frozen` lets no gradient into the features. The
    strength may be learned (`learned`). A class without a support row gets -1e9.
    `norm`: whose statistics batch norm uses. Raises `NoMatch` for an unknown norm,
    ValueError for fewer than two ways and constants not above 0.
    """
    head = logistic_head(
        ways,
        strength,
        normalise=normalise,
        frozen=frozen,
        tolerance=tolerance,
        steps=steps,
    )
    return on_model(model, head, norm=norm, name=name)


def linear_probe(model: Model, ways: int, **settings: Any) -> Learner:
    """The baseline: `logistic` on features that no task changes (Tian et al., 2020).

    `settings` are those of `logistic` but `frozen`.
    """
    return logistic(model, ways, frozen=True, **settings)


def logistic_head(
    ways: int,
    strength: Number = 0.01,
    *,
    normalise: bool = False,
    frozen: bool = False,
    tolerance: float = 1e-5,
    steps: int = 200,
) -> Head:
    """The head of `logistic`."""
    check_ways(ways)
    check_positive("strength", strength)
    check_positive("tolerance", tolerance)
    check_positive("steps", steps)

    def seen(outputs: Outputs) -> Array:
        z = unit(outputs.features) if normalise else outputs.features
        return lax.stop_gradient(z) if frozen else z

    def fit(params_of: Mapping[str, Params], outputs: Outputs, support: Stream) -> Any:
        member, z = (
            memberships(support, ways).astype(outputs.features.dtype),
            seen(outputs),
        )
        share = member / jnp.maximum(member.sum(), 1e-12)
        value = jnp.asarray(number(strength, params_of), z.dtype)
        problem = Problem(z, share, there(member), value)
        found = fitted(problem, tolerance, steps)
        shows = 0 * member.sum()  # NaN, where a label names no class
        return found._replace(bias=found.bias + shows), problem.present

    def score(fit: Any, outputs: Outputs) -> Array:
        found, present = fit
        return masked(linear(found, seen(outputs)), present)

    return Head(fit, score)


def linear(head: Linear, z: Array) -> Array:
    """z W + b. [B D] -> [B C]."""
    return jnp.matmul(z, head.kernel, precision="highest") + head.bias


def cost(head: Linear, problem: Problem) -> Array:
    """Mean cross entropy, the penalty, and what makes the minimum a single point.

    All biases may rise together, and an absent class's may be anything: half the
    squares of their sum, and of those, are 0 at the minimum.
    """
    logits = masked(linear(head, problem.z), problem.present)
    entropy = -(problem.member * jax.nn.log_softmax(logits)).sum()
    penalty = problem.strength / 2 * jnp.square(head.kernel).sum()
    loose = jnp.where(problem.present, 0, head.bias)
    level = jnp.where(problem.present, head.bias, 0).sum()
    return entropy + penalty + (jnp.square(loose).sum() + level**2) / 2


def fitted(problem: Problem, tolerance: float, steps: int) -> Linear:
    """The minimum of `cost`, with its implicit derivatives by the problem's arrays."""
    kind = problem.z.dtype
    classes = problem.member.shape[1]
    start = Linear(
        jnp.zeros((problem.z.shape[1], classes), kind), jnp.zeros(classes, kind)
    )
    limit = 1e-6 if kind.itemsize == 4 else 1e-12

    def slope(head: Linear) -> Linear:
        return jax.grad(cost)(head, problem)

    def solve(_: Callable, start: Linear) -> Linear:
        return minimise(cost, start, problem, tolerance, steps)[0]

    def tangent(product: Callable, right: Linear) -> Linear:
        return conjugate(product, right, limit)

    return lax.custom_root(slope, start, solve, tangent)
