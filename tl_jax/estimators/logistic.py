"""Multinomial logistic regression with an L2 penalty, by L-BFGS in one program.

All data is carried through the loops and nothing is closed over, so a second fit of
the same shapes compiles nothing anew, even outside `jit`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

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


class Solve(NamedTuple):
    """A solve on its way."""

    head: Head
    value: Array
    grad: Head
    state: Any
    step: Array
    stuck: Array
    """Steps in a row without any descent: float32 has no more to give."""
    problem: Problem
    limits: Limits


def _objective(head: Head, problem: Problem) -> Array:
    """Mean cross entropy plus the penalty."""
    logits = problem.z @ head.kernel + head.bias
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits, problem.labels
    )
    return problem.weight @ losses + problem.strength / 2 * (head.kernel**2).sum()


def _going(solve: Solve) -> Array:
    """True until the gradient is small, the steps are up, or nothing moves."""
    far = optax.tree.norm(solve.grad) > solve.limits.tolerance
    return far & (solve.step < solve.limits.steps) & (solve.stuck < 3)


def _step(solve: Solve) -> Solve:
    """One step of L-BFGS."""

    def objective(head: Head) -> Array:
        return _objective(head, solve.problem)

    updates, state = optax.lbfgs().update(
        solve.grad,
        solve.state,
        solve.head,
        value=solve.value,
        grad=solve.grad,
        value_fn=objective,
    )
    head = optax.apply_updates(solve.head, updates)
    value, grad = optax.tree.get(state, "value"), optax.tree.get(state, "grad")
    before, after = optax.tree.norm(solve.grad), optax.tree.norm(grad)
    moved = (value < solve.value) | (after < before)
    stuck = jnp.where(moved, 0, solve.stuck + 1)
    return Solve(
        head, value, grad, state, solve.step + 1, stuck, solve.problem, solve.limits
    )


def _along(
    carry: tuple[Head, Problem, Limits], strength: Array
) -> tuple[tuple[Head, Problem, Limits], tuple[Head, Array]]:
    """Solve at one strength, from the solution at the last one."""
    start, problem, limits = carry
    problem = problem._replace(strength=strength)
    value, grad = jax.value_and_grad(_objective)(start, problem)
    state = optax.lbfgs().init(start)
    zero = jnp.int32(0)
    first = Solve(start, value, grad, state, zero, zero, problem, limits)
    last = jax.lax.while_loop(_going, _step, first)
    converged = optax.tree.norm(last.grad) <= limits.tolerance
    return (last.head, problem, limits), (last.head, converged)


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
