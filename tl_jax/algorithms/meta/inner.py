"""The inner loop: a few steps of any optimiser on a task, differentiated through."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tl_jax.algorithms.meta.implicit import Implicit, check_implicit, pull, solved
from tl_jax.optim import by_rate
from tl_jax.transfer.plan import trainable
from tl_jax.tree import flatten, merge, one_of, partition, paths
from tl_jax.types import Array, Key, Params, Plan, Rates, Stats, Transfer

Mode = Literal["unrolled", "first_order"] | Implicit
NAMED = ("unrolled", "first_order")
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
    2017); "first_order" takes a task's gradients for constants; an `Implicit` pulls
    the task to its start and differentiates what the steps come near to."""
    remat: bool = False
    """Compute a step anew in the backward pass instead of keeping its inside."""
    view: Callable[[Params, Array | int], Params] | None = None
    """(params, step) -> params as that step sees them; None: as they are."""
    stats_view: Callable[[Stats, Array | int], Stats] | None = None
    """The same of batch-norm statistics."""


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
    check_inner(inner)
    start, rest = partition(params_of[name], trainable(inner.rates))
    tx = optimiser(inner, params_of)

    def own_value(moving: Params, rest: Params, i: Array | int) -> Array:
        params = merge(moving, rest)
        own = None if key is None else jax.random.fold_in(key, i)
        return value(viewed(inner, params, i), i, own)

    if not isinstance(inner.mode, Implicit):
        gradient = jax.grad(lambda moving, i: own_value(moving, rest, i))
        last, before = _walk(inner, tx, gradient, start)
        return merge(last, rest), before

    def pulled(moving: Params, start: Params, rest: Params, i: Array | int) -> Array:
        return own_value(moving, rest, i) + pull(inner.mode, moving, start)

    def slope(moving: Params, start: Params, rest: Params) -> Params:
        return jax.grad(pulled)(moving, start, rest, inner.steps)

    held = lax.stop_gradient((start, rest))
    gradient = jax.grad(lambda moving, i: pulled(moving, *held, i))
    last, before = _walk(inner, tx, gradient, held[0])
    return merge(solved(inner.mode, slope, last, start, rest), rest), before


def viewed(inner: Inner, params: Params, step: Array | int) -> Params:
    """The parameters as a step sees them."""
    return params if inner.view is None else inner.view(params, step)


def stats_of(inner: Inner, stats: Stats, step: Array | int) -> Stats:
    """The statistics as a step sees them."""
    return stats if inner.stats_view is None else inner.stats_view(stats, step)


def check_inner(inner: Inner) -> None:
    """Raise `NoMatch` for an unknown mode, ValueError for impossible numbers."""
    if isinstance(inner.mode, Implicit):
        check_implicit(inner.mode)
    else:
        one_of("mode", inner.mode, NAMED)
    if inner.steps < 0:
        raise ValueError(f"steps is {inner.steps}, expected 0 or more")


def _walk(inner: Inner, tx: Any, gradient: Callable, start: Params) -> tuple:
    """(moving leaves after the last step, those before each step)."""

    def step(carry: tuple[Params, Any], i: Array) -> tuple[tuple[Params, Any], Params]:
        moving, state = carry
        grads = gradient(moving, i)
        if inner.mode == "first_order":
            grads = lax.stop_gradient(grads)
        updates, state = tx.update(grads, state, moving)
        return (optax.apply_updates(moving, updates), state), moving

    body = jax.checkpoint(step) if inner.remat else step
    (last, _), before = lax.scan(body, (start, tx.init(start)), jnp.arange(inner.steps))
    return last, before


def optimiser(
    inner: Inner, params_of: Mapping[str, Params]
) -> optax.GradientTransformation:
    """The inner optimiser with its updates scaled by the inner rates."""
    moving, _ = partition(inner.rates, trainable(inner.rates))
    return optax.chain(made_of(inner.tx, params_of), by_rate(moving))


def joined(*optimisers: Optimiser) -> Optimiser:
    """One after another, as `optax.chain`, some of them made of learned parameters."""

    def made(params_of: Mapping[str, Params]) -> optax.GradientTransformation:
        return optax.chain(*(made_of(one, params_of) for one in optimisers))

    return made


def made_of(
    optimiser: Optimiser, params_of: Mapping[str, Params]
) -> optax.GradientTransformation:
    """The optax transformation that an optimiser is with these parameters."""
    if isinstance(optimiser, tuple):  # every optax transformation is a NamedTuple
        return optimiser
    return optimiser(params_of)
