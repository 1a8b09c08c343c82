"""What a term of adaptation sees of a step, and what it may return."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from tl_jax.types import (
    Array,
    Batch,
    Key,
    Outputs,
    Params,
    Player,
    Stage,
    Stats,
    Stream,
)

Run = Callable[..., tuple[Outputs, Stats]]
"""`run(player, inputs, *, key=None, norm="batch", params=None, stats=None)`.

-> (outputs, moved): one more forward pass of any player; `params` and `stats` in place
of its present ones.
"""


class Side(NamedTuple):
    """One domain's part of a step."""

    outputs: Outputs
    """Of the model's forward pass, dropout included."""
    stream: Stream

    @property
    def weight(self) -> Array:
        """[B] 0 for padding."""
        return self.stream["weight"]

    def mean(self, values: Array) -> Array:
        """The weighted mean over the batch, 0 of nothing. values [B] -> []."""
        return (self.weight * values).sum() / jnp.maximum(self.weight.sum(), 1e-12)


class Before(NamedTuple):
    """What there is before the model has seen the batch."""

    params: Mapping[str, Params]
    """Player -> all of its parameters; those that move carry gradients."""
    memory: Mapping[str, Any]
    own: Any
    """What this term keeps in memory; None where it keeps nothing."""
    progress: Array
    """[] share of the steps that are done, 0 to 1."""
    key: Key
    """Of this term and step."""
    run: Run


class Seen(NamedTuple):
    """What a term sees of a step."""

    params: Mapping[str, Params]
    memory: Mapping[str, Any]
    own: Any
    progress: Array
    key: Key
    run: Run
    source: Side | None
    """None where adaptation is free of the source."""
    target: Side | None
    labelled: Side | None = None
    """Rows of the target whose labels were opened."""


class Found(NamedTuple):
    """What a term found."""

    value: Array
    """[], its strength included."""
    own: Any = None
    """What it keeps in memory from now on; None: what it had."""
    stats: Mapping[str, Stats] = {}
    """Player -> moved statistics of batch norm, of the players that it ran."""
    metrics: Mapping[str, Array] = {}
    """Logged as `<term>/<name>`."""


def nothing(key: Key, players: Mapping[str, Player]) -> None:
    """Keep nothing in memory."""


def no_stages(players: Mapping[str, Player]) -> tuple[Stage, ...]:
    """Nothing comes after the descent."""
    return ()


def any_players(players: Mapping[str, Player]) -> None:
    """Whoever plays is fine."""


class Term(NamedTuple):
    """A term of the loss of two domains: a method of adaptation, or a part of one."""

    value: Callable[[Seen], Found | Array]
    init: Callable[[Key, Mapping[str, Player]], Any] = nothing
    """What it first keeps in memory; a checkpoint holds it."""
    stages: Callable[[Mapping[str, Player]], tuple[Stage, ...]] = no_stages
    """What follows the descent: a teacher that is averaged, a queue."""
    check: Callable[[Mapping[str, Player]], None] = any_players
    """Raises for players that do not fit."""
    prepare: Callable[[Before, Batch], Batch] | None = None
    """Changes the streams before the model sees them."""


Terms = Mapping[str, Term]
