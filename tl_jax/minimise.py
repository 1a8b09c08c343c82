"""Smooth functions minimised by L-BFGS in one program.

All data is carried through the loop and nothing is closed over, so a second solve of
the same shapes compiles nothing anew, even outside `jit`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from tl_jax.types import Array

Objective = Callable[[Any, Any], Array]
"""(x, data) -> [], smooth; convex where the minimum should be the global one."""


class Solve(NamedTuple):
    """A solve on its way."""

    x: Any
    value: Array
    grad: Any
    state: Any
    step: Array
    stuck: Array
    """Steps in a row without any descent: the precision has no more to give."""
    data: Any
    tolerance: Array
    steps: Array
    objective: Partial
    """Part of the structure: a function of a module has one identity."""


def minimise(
    objective: Objective, start: Any, data: Any, tolerance: Array, steps: Array
) -> tuple[Any, Array]:
    """(x, whether it converged) by L-BFGS (Liu and Nocedal, 1989).

    Until the gradient's norm is at most `tolerance`, the steps are up, or three steps
    in a row brought neither a lower value nor a smaller gradient. Not differentiated:
    see `lax.custom_root`.
    """
    value, grad = jax.value_and_grad(objective)(start, data)
    zero = jnp.int32(0)
    limits = jnp.asarray(tolerance, value.dtype), jnp.asarray(steps, jnp.int32)
    own = optax.lbfgs().init(start)
    given = Partial(objective)
    first = Solve(start, value, grad, own, zero, zero, data, *limits, given)
    last = jax.lax.while_loop(_going, _step, first)
    return last.x, optax.tree.norm(last.grad) <= last.tolerance


def _going(solve: Solve) -> Array:
    """True until the gradient is small, the steps are up, or nothing moves."""
    far = optax.tree.norm(solve.grad) > solve.tolerance
    return far & (solve.step < solve.steps) & (solve.stuck < 3)


def _step(solve: Solve) -> Solve:
    """One step of L-BFGS."""

    def objective(x: Any) -> Array:
        return solve.objective(x, solve.data)

    updates, state = optax.lbfgs().update(
        solve.grad,
        solve.state,
        solve.x,
        value=solve.value,
        grad=solve.grad,
        value_fn=objective,
    )
    x = optax.apply_updates(solve.x, updates)
    value, grad = optax.tree.get(state, "value"), optax.tree.get(state, "grad")
    before, after = optax.tree.norm(solve.grad), optax.tree.norm(grad)
    moved = (value < solve.value) | (after < before)
    return solve._replace(
        x=x,
        value=value,
        grad=grad,
        state=state,
        step=solve.step + 1,
        stuck=jnp.where(moved, 0, solve.stuck + 1),
    )
