"""SetFit: an encoder tuned on pairs of the support set, then a logistic head."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from tl_jax.algorithms.meta.heads import Fitted, Number, of_player, on_model
from tl_jax.algorithms.meta.inner import Inner, adapt
from tl_jax.algorithms.meta.learner import Learner, Norm, Seen, on_support
from tl_jax.algorithms.meta.logistic import logistic_head
from tl_jax.losses.contrastive import pair_error
from tl_jax.types import Array, Key, Model, Params, Stream

PairLoss = Callable[[Array, Array, Array], Array]
"""(features [B D], labels [B], weight [B]) -> [B]: `losses.contrastive` has two."""


def setfit(
    model: Model,
    ways: int,
    inner: Inner,
    *,
    loss: PairLoss = pair_error,
    strength: Number = 0.01,
    normalise: bool = False,
    tolerance: float = 1e-5,
    steps: int = 200,
    norm: Norm = "running",
    name: str = "model",
) -> Learner:
    """Inner steps on a loss of pairs, then logistic regression (Tunstall et al., 2022).

    phi = adapt(theta; sum_i w_i pair_loss_i / sum_i w_i), then `logistic` on the
    features of phi. A step sees all pairs of the support set, where the paper draws
    some; `losses.supervised_contrastive` is the other usual loss. The head's arguments
    are those of `logistic`. `norm`: whose statistics batch norm uses. Raises as
    `logistic` and `adapt` do.
    """
    how = dict(normalise=normalise, tolerance=tolerance, steps=steps)
    head = on_model(model, logistic_head(ways, strength, **how), norm=norm, name=name)

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Fitted:
        of_player(params_of, name)
        weight = support["weight"]

        def value(params: Params, i: Array, key: Key | None) -> Array:
            at = seen._replace(key=key)
            outputs, _ = on_support(
                model, params, seen.stats[name], support["inputs"], norm, at
            )
            losses = loss(outputs.features, support["labels"], weight)
            return (weight * losses).sum() / jnp.maximum(weight.sum(), 1e-12)

        params, _ = adapt(value, params_of, name, inner, seen.key)
        return head.fit({**params_of, name: params}, support, seen._replace(key=None))

    def predict(fitted: Fitted, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        return head.predict(fitted, inputs, seen._replace(key=None))

    return Learner(fit, predict, None)
