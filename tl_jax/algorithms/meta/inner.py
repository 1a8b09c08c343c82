"""The inner loop: a few steps of any optimiser on a task, differentiated through."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tl_jax.optim import by_rate
from tl_jax.transfer.plan import trainable
from tl_jax.tree import flatten, merge, one_of, partition, paths
from tl_jax.types import Array, Key, Params, Plan, Rates, Transfer

Mode = Literal["unrolled", "first_order"]
Optimiser = (
    optax.GradientTransformation
    | Callable[[Mapping[str, Params]], optax.GradientTransformation]
)
"""An optax transformation, or a function of all players' parameters that makes one: so
that its rates can be learned."""


class Inner(NamedTuple):
    """What moves within a task, and how."""

    rates: Rates
    """The structure of the model's parameters: 0 keeps a leaf as it is."""
    tx: Optimiser
    steps: int = 1
    mode: Mode = "unrolled"
    """"unrolled" differentiates through every step, second order and all (Finn et al.,
    2017); "first_order" takes a task's gradients for constants."""
    remat: bool = False
    """Compute a step anew in the backward pass instead of keeping its inside."""
    view: Callable[[Params, Array | int], Params] | None = None
    """(params, step) -> params as that step sees them; None: as they are."""


def inner_rates(plan: Plan, transfer: Transfer | None = None) -> Rates:
    """Rates of a task's own steps: the plan's after `transfer`, by default the plan's.

    `transfer` says which leaves a task moves in the terms of all plans: `freeze(".*")`,
    then `rate("head/.*", 1.0)` is ANIL. Raises ValueError for one that adds leaves,
    and for rates that leave nothing to move.
    """
    if transfer is not None:
        changed = transfer(jax.random.key(0), plan)
        if paths(changed.rates) != paths(plan.rates):
            new = sorted(set(paths(changed.rates)) ^ set(paths(plan.rates)))
            raise ValueError(
                "the inner plan may set rates alone, but changes which leaves there "
                f"are: {', '.join(new[:5])}; graft in the outer plan"
            )
        plan = changed
    if not any(flatten(plan.rates).values()):
        raise ValueError("the inner plan moves nothing: every rate is 0")
    return plan.rates


def adapt(
    value: Callable[[Params, Array, Key | None], Array],
    params_of: Mapping[str, Params],
    name: str,
    inner: Inner,
    key: Key | None = None,
) -> tuple[Params, Params]:
    """The player's parameters after the inner steps, and the moving ones before each.

    theta_0 = theta;  theta_{k+1} = theta_k + tx(grad value(theta_k)) * rates

    `value(params, step, key) -> []`. Returns (parameters after the last step, moving
    leaves [steps ...] as each step began, with holes). Any optax transformation does
    that JAX can differentiate: no line search. Raises `NoMatch` for an unknown mode,
    ValueError for a negative number of steps.
    """
    one_of("mode", inner.mode, get_args(Mode))
    if inner.steps < 0:
        raise ValueError(f"steps is {inner.steps}, expected 0 or more")
    chosen = trainable(inner.rates)
    start, rest = partition(params_of[name], chosen)
    tx = optimiser(inner, params_of)

    def own_value(moving: Params, i: Array) -> Array:
        params = merge(moving, rest)
        own = None if key is None else jax.random.fold_in(key, i)
        return value(params if inner.view is None else inner.view(params, i), i, own)

    def step(carry: tuple[Params, Any], i: Array) -> tuple[tuple[Params, Any], Params]:
        moving, state = carry
        grads = jax.grad(own_value)(moving, i)
        if inner.mode == "first_order":
            grads = lax.stop_gradient(grads)
        updates, state = tx.update(grads, state, moving)
        return (optax.apply_updates(moving, updates), state), moving

    body = jax.checkpoint(step) if inner.remat else step
    (last, _), before = lax.scan(body, (start, tx.init(start)), jnp.arange(inner.steps))
    return merge(last, rest), before


def optimiser(
    inner: Inner, params_of: Mapping[str, Params]
) -> optax.GradientTransformation:
    """The inner optimiser with its updates scaled by the inner rates."""
    made = inner.tx
    if not isinstance(made, tuple):  # every optax transformation is a NamedTuple
        made = made(params_of)
    moving, _ = partition(inner.rates, trainable(inner.rates))
    return optax.chain(made, by_rate(moving))
