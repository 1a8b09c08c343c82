"""Matching networks: a query takes the labels of what it attends to."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.algorithms.meta.classes import check_ways, masked, memberships, there
from tl_jax.algorithms.meta.heads import (
    Head,
    Number,
    check_positive,
    number,
    of_player,
    on_model,
)
from tl_jax.algorithms.meta.learner import Learner, Norm
from tl_jax.losses.similarity import cosines
from tl_jax.types import Array, Model, Outputs, Params, Stream


class Attended(NamedTuple):
    """What queries attend to."""

    features: Array
    """[N D] of the support set."""
    member: Array
    """[N C] weights at the rows' own classes."""
    scale: Array | float
    context: Params | None


def matching(
    model: Model,
    ways: int,
    *,
    context: Model | None = None,
    temperature: Number = 1.0,
    norm: Norm = "transductive",
    name: str = "model",
    context_name: str = "context",
) -> Learner:
    """log P(y = k) for P = sum_i a_i [y_i = k] (Vinyals et al., 2016).

    a_i = w_i exp cos(f(x), g(x_i)) / sum_j w_j exp cos(f(x), g(x_j))

    f = g = the model's features [B D] without a `context`; with one, such as
    `models.full_context`, a player `context_name` embeds support and queries given
    the support set. Cosines are divided by the temperature, which the paper has not
    (1). A class without a support row gets -1e9. `norm`: whose statistics batch norm
    uses. Raises `NoMatch` for an unknown norm and a missing player, ValueError for
    fewer than two ways and a temperature not above 0.
    """
    check_ways(ways)
    check_positive("temperature", temperature)

    def fit(params_of: Mapping[str, Params], outputs: Outputs, support: Stream) -> Any:
        member = memberships(support, ways)
        own = None if context is None else of_player(params_of, context_name)
        scale = 1 / number(temperature, params_of)
        return Attended(outputs.features, member, scale, own)

    def score(fitted: Attended, outputs: Outputs) -> Array:
        g, f = fitted.features, outputs.features
        if context is not None:
            inputs = {"support": g, "mask": fitted.member.sum(1) > 0, "query": f}
            seen = context.apply(fitted.context, {}, inputs)[0]
            f, (g,) = seen.features, seen.hidden
        return attended(fitted.scale * cosines(f, g), fitted.member)

    return on_model(model, Head(fit, score), norm=norm, name=name)


def attended(scores: Array, member: Array) -> Array:
    """log of the softmax's share at each class. scores [B N], member [N C] -> [B C]."""
    inside = member > 0
    logs = jnp.log(jnp.where(inside, member, 1))
    bad = jnp.where(jnp.isnan(member), jnp.nan, 0)
    each = masked(scores[:, :, None] + logs, inside) + bad
    return masked(jax.nn.log_softmax(jax.nn.logsumexp(each, 1)), there(member))
