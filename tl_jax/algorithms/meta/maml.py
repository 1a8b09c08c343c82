"""Learn an initialisation that a few gradient steps turn into any task's solution."""

from collections.abc import Mapping
from typing import Any

from tl_jax.algorithms.meta.inner import Inner, adapt
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
from tl_jax.types import Array, Key, Model, Params, Stream


def maml(
    model: Model,
    loss: Loss,
    inner: Inner,
    *,
    test_steps: int | None = None,
    norm: Norm = "transductive",
    name: str = "model",
) -> Learner:
    """A few steps on the support set, from a start that is learned through them.

    phi = theta - rate grad L_support(theta), minimising L_query(phi) over theta (Finn
    et al., 2017). `inner.mode="first_order"` is FOMAML; inner rates for the head alone
    are ANIL (Raghu et al., 2020), for all but the head BOIL (Oh et al., 2021).
    `test_steps` of predictions, by default those of training. `loss(outputs, stream)
    -> [B]` is the support set's. `norm`: whose statistics batch norm uses. `name` is
    the player whose parameters adapt. Raises `NoMatch` for an unknown norm.
    """
    check_norm(norm)

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Embedded:
        return fitted(model, loss, inner, test_steps, norm, name)(
            params_of, support, seen
        )[0]

    def predict(fitted: Embedded, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        outputs, moved = on_query(model, *fitted, inputs, norm, seen)
        return outputs, kept(name, moved, norm, seen)

    return Learner(fit, predict, None)


def fitted(model: Model, loss: Loss, inner: Inner, test_steps, norm: Norm, name: str):
    """(params_of, support, seen) -> (`Embedded`, moving leaves before each step)."""

    def fit(
        params_of: Mapping[str, Params], support: Stream, seen: Seen
    ) -> tuple[Embedded, Params]:
        own = inner
        if not seen.training and test_steps is not None:
            own = inner._replace(steps=test_steps)
        stats = seen.stats[name]

        def value(params: Params, i: Array, key: Key | None) -> Array:
            at = seen._replace(key=key)
            outputs, _ = on_support(model, params, stats, support["inputs"], norm, at)
            return mean_loss(outputs, support, loss)

        params, before = adapt(value, params_of, name, own, seen.key)
        if own.view is not None:
            params = own.view(params, own.steps)
        if norm == "support":
            _, stats = on_support(model, params, stats, support["inputs"], norm, seen)
        return Embedded(params, stats), before

    return fit
