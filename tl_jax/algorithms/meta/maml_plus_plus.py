"""How to train MAML: losses, rates, norms and derivatives by inner step."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tl_jax.algorithms.meta.inner import Inner, Optimiser
from tl_jax.algorithms.meta.learner import (
    Learner,
    Loss,
    Norm,
    Seen,
    check_norm,
    kept,
    mean_loss,
    on_query,
)
from tl_jax.algorithms.meta.maml import Walked, at_hand, embedded, walked
from tl_jax.algorithms.meta.meta_sgd import check_leaves, player_leaves
from tl_jax.transfer.plan import trainable
from tl_jax.tree import map_with_path, merge, partition
from tl_jax.types import Array, Metrics, Model, Params, Stats, Stream


class Adapted(NamedTuple):
    """A task's whole path, whose every step queries may be asked of."""

    path: Walked
    support: Stream


def maml_plus_plus(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    anneal_steps: int = 0,
    second_order_from: int = 0,
    test_steps: int | None = None,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """MAML with a loss after every inner step (Antoniou et al., 2019).

    L = sum_i w_i L_query(phi_i), i = 1..steps, where w goes from even to the last step
    alone over `anneal_steps` meta-steps (`step_weights`), after which only the last is
    computed; 0 is MAML's loss. Derivatives are of first order before meta-step
    `second_order_from`, of second from there on: one program, which computes what it
    needs. The paper's other parts are values: rates by step are
    `inner.tx=per_step_rates()`; norms by step `transfer.per_step_norms` with
    `inner.view=at_step`, their statistics `inner.stats_view=stats_at_step`.

    Statistics by step are kept under `norm="running"`: row i is that of queries after i
    steps. (The authors' code normalises by the batch in tests, too, which is
    "transductive".) Raises ValueError for a mode other than "unrolled", no inner steps,
    or negative numbers of meta-steps.
    """
    check_norm(norm)
    if inner.mode != "unrolled" or inner.steps < 1:
        raise ValueError(
            "maml_plus_plus takes 1 or more steps of mode 'unrolled', found "
            f"{inner.steps} of {inner.mode!r}; for first order see second_order_from"
        )
    if min(anneal_steps, second_order_from) < 0:
        raise ValueError(
            f"anneal_steps is {anneal_steps}, second_order_from {second_order_from}: "
            "expected 0 or more"
        )

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Adapted:
        own = at_hand(inner, test_steps, seen)

        def walk(mode: str) -> Walked:
            go = walked(model, loss, own._replace(mode=mode), norm, None, name)
            return go(params_of, support, seen)

        if not seen.training or not second_order_from:
            return Adapted(walk(inner.mode), support)
        late = seen.step >= second_order_from
        path = lax.cond(late, lambda: walk("unrolled"), lambda: walk("first_order"))
        return Adapted(path, support)

    def asked(params, step, support, inputs, seen) -> tuple[Any, Stats]:
        args = params, seen.stats[name], support, seen, step
        own = embedded(model, inner, norm, *args)
        return on_query(model, *own, inputs, norm, seen)

    def predict(fitted: Adapted, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        (last, _), support = fitted
        steps = at_hand(inner, test_steps, seen).steps
        outputs, moved = asked(last, steps, support, inputs, seen)
        return outputs, kept(name, moved, norm, seen)

    def value(fitted: Adapted, query: Stream, loss: Loss, seen: Seen) -> tuple:
        (last, before), support = fitted
        _, rest = partition(last, trainable(inner.rates))
        weights = step_weights(inner.steps, seen.step, anneal_steps)

        def one(moving: Params, step: Array | int) -> tuple[Array, Stats]:
            params = merge(moving, rest)
            outputs, moved = asked(params, step, support, query["inputs"], seen)
            return mean_loss(outputs, query, loss), moved

        end, moved = one(last, inner.steps)
        total = weights[-1] * end
        if norm == "running" and inner.stats_view is not None:
            steps = jnp.arange(inner.steps)
            values, rows = lax.map(lambda x: one(*x), (before, steps))
            total = total + (weights[:-1] * values[1:]).sum()
            moved = jax.tree.map(_joined, rows, moved)
        elif anneal_steps and inner.steps > 1:
            later = jax.tree.map(lambda x: x[1:], before), jnp.arange(1, inner.steps)

            def others() -> Array:
                values = lax.map(lambda x: one(*x)[0], later)
                return (weights[:-1] * values).sum()

            early = seen.step < anneal_steps
            total = total + lax.cond(early, others, lambda: jnp.zeros_like(end))
        metrics: Metrics = {"last_loss": end}
        return total, kept(name, moved, norm, seen), metrics

    return Learner(fit, predict, value)


def step_weights(steps: int, step: Array | int, anneal_steps: int) -> Array:
    """[steps] weights of the losses after each inner step, at a meta-step.

    Each but the last falls from 1/S by 1/S in `anneal_steps`, though not below 0.03/S,
    and the last has what they lose. From `anneal_steps` on the last is all. (Antoniou
    et al., 2019, as in the authors' code, whose unit is an epoch.)
    """
    share = jnp.asarray(step) / anneal_steps if anneal_steps else jnp.ones(())
    other = jnp.maximum((1 - share) / steps, 0.03 / steps)
    other = jnp.where(share < 1, other, 0.0)
    return jnp.full(steps, other).at[-1].set(1 - (steps - 1) * other)


def per_step_rates(name: str = "rates") -> Optimiser:
    """phi_{i+1} = phi_i - alpha_i grad, a learned alpha for each leaf and step.

    (Antoniou et al., 2019.) The player `name` is `learned_rates(..., steps=S)`; steps
    beyond S take the last one. Raises as `meta_sgd`.
    """

    def made(params_of: Mapping[str, Params]) -> optax.GradientTransformation:
        rates = player_leaves(params_of, name)

        def init(params: Params) -> Array:
            return jnp.zeros((), jnp.int32)

        def update(grads: Params, count: Array, params: Any = None) -> tuple:
            check_leaves(name, rates, grads)

            def scale(path: str, g: Array) -> Array:
                own = rates[path]
                return -own[jnp.minimum(count, len(own) - 1)] * g

            return map_with_path(scale, grads), count + 1

        return optax.GradientTransformation(init, update)

    return made


def _joined(rows: Array, last: Array) -> Array:
    return jnp.concatenate([rows, last[None]])
