"""Learners by name, and what a config has to know about each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from experiments.algorithms import PLAYER, Cast, alone
from experiments.players import adjusted, context, read_out, related
from experiments.tasks import EPISODIC
from tl_jax.algorithms import meta
from tl_jax.types import Player

CLASSES = ("fewshot",)
REGRESSION = ("fewshot_regression",)
ANY = EPISODIC
Models = Callable[[Mapping[str, Player]], dict[str, Any]]


class Entry(NamedTuple):
    """A learner by name."""

    make: Callable[..., Any]
    """Gives a `Learner`, or, if it takes `players`, an `Algorithm` of its own."""
    head: str = "none"
    """`ways` where it reads the model's head, else `none`."""
    cast: Callable[[Any], Cast] = lambda table: alone
    """(the learner's table) -> who plays beside the model; may take fields of it."""
    models: Models = lambda players: {}
    """Arguments that are other players' models."""
    of: tuple[str, ...] = CLASSES
    """The tasks that it can learn."""
    moves: str = PLAYER
    """The player that inner steps move."""
    loss: Callable | None = None
    """What meta-training minimises; None: the task's loss."""
    own: tuple[str, ...] = ()
    """Arguments that keep their defaults where a run would fill others in."""
    wide: bool = False
    """Whether a player beside the model is as wide as the ways of training."""
    hands_on: Callable[..., Any] = meta.maml
    """Whose arguments its `**` are."""


def model_of(argument: str, player: str) -> Models:
    """One argument that is a player's model."""
    return lambda players: {argument: players[player].model}


NUMBERS = dict(strength=0.0, scale=0.0, bias=0.0)
LEARNERS: Mapping[str, Entry] = {
    "maml": Entry(meta.maml, "ways", of=ANY),
    "maml_plus_plus": Entry(meta.maml_plus_plus, "ways", of=ANY),
    "proto_maml": Entry(meta.proto_maml, "ways"),
    "fine_tune": Entry(meta.fine_tune, "ways"),
    "oracle": Entry(meta.oracle, "ways", of=REGRESSION),
    "reptile": Entry(meta.reptile, "ways", of=ANY),
    "prototypical": Entry(meta.prototypical),
    "matching": Entry(meta.matching),
    "matching_context": Entry(
        meta.matching, cast=context, models=model_of("context", "context")
    ),
    "relation": Entry(
        meta.relation,
        cast=related,
        models=model_of("module", "relation"),
        loss=meta.relation_error,
    ),
    "simpleshot": Entry(meta.simpleshot),
    "neighbours": Entry(meta.neighbours),
    "r2d2": Entry(meta.r2d2, cast=partial(adjusted, **NUMBERS)),
    "metaoptnet": Entry(meta.metaoptnet, cast=partial(adjusted, scale=0.0)),
    "logistic": Entry(meta.logistic),
    "linear_probe": Entry(meta.linear_probe, hands_on=meta.logistic),
    "baseline": Entry(
        meta.baseline,
        cast=read_out,
        models=model_of("readout", "readout"),
        moves="readout",
        wide=True,
    ),
    "setfit": Entry(meta.setfit, own=("loss",)),
}
