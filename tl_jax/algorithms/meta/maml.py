"""Learn an initialisation that a few gradient steps turn into any task's solution."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tl_jax.algorithms.meta.inner import Inner, adapt, stats_of, viewed
from tl_jax.algorithms.meta.learner import (
    Embedded,
    Learner,
    Loss,
    Norm,
    Seen,
    check_norm,
    kept,
    mean_loss,
    on_query,
    on_support,
)
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats, Stream

Start = Callable[[Params, Stream, Callable[[Params], Outputs]], Params]
"""(parameters, support, params -> outputs on it) -> the parameters a task starts at:
for what is made of the support set, as a head of prototypes is."""


class Walked(NamedTuple):
    """Where a task's inner steps led."""

    last: Params
    before: Params
    """[steps ...] the moving leaves as each step began, with holes elsewhere."""


def maml(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    test_steps: int | None = None,
    norm: Norm = "transductive",
    start: Start | None = None,
    name: str = "model",
) -> Learner:
    """A few steps on the support set, from a start that is learned through them.

    phi = theta - rate grad L_support(theta), minimising L_query(phi) over theta (Finn
    et al., 2017). `inner.mode="first_order"` is FOMAML, an `Implicit` iMAML; inner
    rates for the head alone are ANIL (Raghu et al., 2020), for all but the head BOIL
    (Oh et al., 2021). `test_steps` of predictions, by default those of training.
    `loss(outputs, stream) -> [B]` is the support set's. `norm`: whose statistics batch
    norm uses. `start` makes what a task begins with of its support set. `name` is the
    player whose parameters adapt. Raises `NoMatch` for an unknown norm.
    """
    check_norm(norm)

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Embedded:
        own = at_hand(inner, test_steps, seen)
        stats = seen.stats[name]
        last = walked(model, loss, own, norm, start, name)(params_of, support, seen)[0]
        return embedded(model, own, norm, last, stats, support, seen, own.steps)

    def predict(fitted: Embedded, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        outputs, moved = on_query(model, *fitted, inputs, norm, seen)
        return outputs, kept(name, moved, norm, seen)

    return Learner(fit, predict, None)


def at_hand(inner: Inner, test_steps: int | None, seen: Seen) -> Inner:
    """The inner loop of training, or that of predictions."""
    if seen.training or test_steps is None:
        return inner
    return inner._replace(steps=test_steps)


def walked(
    model: Model, loss: Loss, inner: Inner, norm: Norm, start: Start | None, name: str
) -> Callable[[Mapping[str, Params], Stream, Seen], Walked]:
    """(params_of, support, seen) -> where the inner steps lead."""

    def walk(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Walked:
        def look(params: Params, i: Array | int, key: Key | None) -> Outputs:
            stats, at = stats_of(inner, seen.stats[name], i), seen._replace(key=key)
            return on_support(model, params, stats, support["inputs"], norm, at)[0]

        def value(params: Params, i: Array, key: Key | None) -> Array:
            return mean_loss(look(params, i, key), support, loss)

        if start is not None:

            def first(params: Params) -> Outputs:
                return look(viewed(inner, params, 0), 0, seen.key)

            begun = start(params_of[name], support, first)
            params_of = {**params_of, name: begun}
        return Walked(*adapt(value, params_of, name, inner, seen.key))

    return walk


def embedded(
    model: Model,
    inner: Inner,
    norm: Norm,
    params: Params,
    stats: Stats,
    support: Stream,
    seen: Seen,
    step: Array | int,
) -> Embedded:
    """What queries need of a task's parameters after `step` steps."""
    params, stats = viewed(inner, params, step), stats_of(inner, stats, step)
    if norm == "support":
        _, stats = on_support(model, params, stats, support["inputs"], norm, seen)
    return Embedded(params, stats)
