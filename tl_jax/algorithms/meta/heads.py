"""Heads that are computed from a support set's outputs, and learners made of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.algorithms.meta.learner import (
    Embedded,
    Learner,
    Norm,
    Seen,
    check_norm,
    kept,
    on_query,
    on_support,
)
from tl_jax.tree import get, no_match
from tl_jax.types import Array, Model, Outputs, Params, Stream

Number = float | Callable[[Mapping[str, Params]], Array]
"""A constant, or a function of all players' parameters: so that it can be learned."""


class Head(NamedTuple):
    """A classifier of a model's outputs, fitted to a support set."""

    fit: Callable[[Mapping[str, Params], Outputs, Stream], Any]
    """(params_of, outputs of the support set, support) -> whatever `score` needs."""
    score: Callable[[Any, Outputs], Array]
    """(fitted, outputs of queries) -> logits [B C]."""


class Fitted(NamedTuple):
    """What a query needs: the model as it stood, and a fitted head."""

    model: Embedded
    head: Any


def on_model(
    model: Model, head: Head, *, norm: Norm = "transductive", name: str = "model"
) -> Learner:
    """A head over the outputs of the player `name`, whose parameters a task keeps.

    `norm`: whose statistics batch norm uses. Raises `NoMatch` for an unknown norm, and
    once it fits for a player that is not there.
    """
    check_norm(norm)

    def fit(params_of: Mapping[str, Params], support: Stream, seen: Seen) -> Fitted:
        params = of_player(params_of, name)
        outputs, stats = on_support(
            model, params, seen.stats[name], support["inputs"], norm, seen
        )
        return Fitted(Embedded(params, stats), head.fit(params_of, outputs, support))

    def predict(fitted: Fitted, inputs: Mapping[str, Any], seen: Seen) -> tuple:
        outputs, moved = on_query(model, *fitted.model, inputs, norm, seen)
        logits = head.score(fitted.head, outputs)
        return outputs._replace(logits=logits), kept(name, moved, norm, seen)

    return Learner(fit, predict, None)


def learned(path: str, *, player: str = "adjust", positive: bool = False) -> Number:
    """A number that descends as a leaf of a player, with `positive` exp of the leaf.

    `models.values` makes such a player. Raises `NoMatch`, once it is read, for a
    player or a leaf that is not there.
    """

    def read(params_of: Mapping[str, Params]) -> Array:
        leaf = get(of_player(params_of, player), path)
        return jnp.exp(leaf) if positive else leaf

    return read


def number(value: Number, params_of: Mapping[str, Params]) -> Array | float:
    """The number itself."""
    return value(params_of) if callable(value) else value


def of_player(params_of: Mapping[str, Params], name: str) -> Params:
    """A player's parameters; raises `NoMatch` with the nearest names."""
    if name not in params_of:
        raise no_match("player", name, params_of)
    return params_of[name]


def check_positive(kind: str, value: Number) -> None:
    """Raise ValueError for a constant that is not above 0."""
    if not callable(value) and not isinstance(value, jax.Array) and not value > 0:
        raise ValueError(f"{kind} is {value}, expected a number above 0")
