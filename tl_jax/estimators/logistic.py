"""Multinomial logistic regression with an L2 penalty, at several strengths."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tl_jax.minimise import minimise
from tl_jax.types import Array


class Head(NamedTuple):
    """What is solved for, on standardised features."""

    kernel: Array
    bias: Array


class Problem(NamedTuple):
    """The data of one solve: z [N D], labels [N], weight [N] of sum 1."""

    z: Array
    labels: Array
    weight: Array
    strength: Array


class Limits(NamedTuple):
    """When a solve ends."""

    tolerance: Array
    steps: Array


def _objective(head: Head, problem: Problem) -> Array:
    """Mean cross entropy plus the penalty."""
    logits = problem.z @ head.kernel + head.bias
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, problem.labels
    )
    return problem.weight @ losses + problem.strength / 2 * (head.kernel**2).sum()


def _along(
    carry: tuple[Head, Problem, Limits], strength: Array
) -> tuple[tuple[Head, Problem, Limits], tuple[Head, Array]]:
    """Solve at one strength, from the solution at the last one."""
    start, problem, limits = carry
    problem = problem._replace(strength=strength)
    head, converged = minimise(_objective, start, problem, *limits)
    return (head, problem, limits), (head, converged)


def regularisation_path(
    problem: Problem, strengths: Array, classes: int, tolerance: float, steps: int
) -> tuple[Head, Array]:
    """Solutions by strength, each begun at the one before: heads [S ...], done [S].

    From the strongest to the weakest is the fast order.
    """
    start = Head(
        jnp.zeros((problem.z.shape[1], classes), jnp.float32),
        jnp.zeros(classes, jnp.float32),
    )
    limits = Limits(jnp.float32(tolerance), jnp.int32(steps))
    return jax.lax.scan(_along, (start, problem, limits), strengths)[1]
