"""Penalties added to a supervised loss, and the start that some of them see."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.transfer.plan import trainable
from tl_jax.tree import copy, merge, partition
from tl_jax.types import (
    Algorithm,
    Array,
    Key,
    Metrics,
    Outputs,
    Params,
    Plan,
    Player,
    Stats,
    Stream,
)

START = "start"
"""Where `memory` holds what leaves were when they began to move, by player."""


class Seen(NamedTuple):
    """What a penalty sees of a step."""

    params: Params
    """All parameters."""
    moving: Params
    """Those that move, with holes elsewhere."""
    outputs: Outputs
    """Of the step's own forward pass, dropout included."""
    stream: Stream
    weight: Array
    """[B] of the examples in the loss; 0 for padding."""
    start: Params | None
    """`moving` as it began; None where no penalty asks for it."""
    begun: Callable[[], Outputs]
    """What the model gave at its start: without dropout, and without a gradient."""

    def mean(self, values: Array) -> Array:
        """The weighted mean over the batch. values [B] -> []."""
        return (self.weight * values).sum() / jnp.maximum(self.weight.sum(), 1e-12)


class Penalty(NamedTuple):
    """A term of a loss, of whatever moves and however."""

    value: Callable[[Seen], Array]
    """-> [], its strength included."""
    start: bool = False
    """Whether it reads `start` or `begun`."""
    check: Callable[[Plan], None] = lambda plan: None
    """Raises for a plan that it does not fit."""


Penalties = Mapping[str, Penalty]


def total(penalties: Penalties, seen: Seen) -> tuple[Array, Metrics]:
    """The sum of all penalties [], and each as `penalty/<name>`."""
    values = {name: penalty.value(seen) for name, penalty in penalties.items()}
    metrics = {f"penalty/{name}": value for name, value in values.items()}
    return sum(values.values(), jnp.float32(0)), metrics


def seen_by(
    player: Player,
    params: Params,
    memory: Mapping[str, dict] | None,
    outputs: Outputs,
    stream: Stream,
    weight: Array,
) -> Seen:
    """What penalties see; `memory` is the player's own in memory["start"], or None."""
    moving, frozen = partition(params, trainable(player.plan.rates))

    def begun() -> Outputs:
        whole, stats = merge(memory["params"], frozen), memory["stats"]
        found = player.model.apply(whole, stats, stream["inputs"])[0]
        return jax.lax.stop_gradient(found)

    start = None if memory is None else memory["params"]
    return Seen(params, moving, outputs, stream, weight, start, begun)


def remembered(algorithm: Algorithm, penalties: Penalties) -> Algorithm:
    """The algorithm, whose memory holds the start where a penalty asks for it.

    A copy of the leaves that move, and of all statistics; none of what is frozen. Over
    a change of plan it stays, and what opens later begins as it then stands: a leaf
    that was closed and opened again begins anew. Checkpoints hold it with the state.
    """

    def init(key: Key, players: Mapping[str, Player]):
        for player in players.values():
            for penalty in penalties.values():
                penalty.check(player.plan)
        state, frozen = algorithm.init(key, players)
        if not any(penalty.start for penalty in penalties.values()):
            return state, frozen
        start = {
            name: _start(state.train[name], player.plan.stats)
            for name, player in players.items()
        }
        return state._replace(memory=state.memory | {START: start}), frozen

    return algorithm._replace(init=init)


def _start(train: Params, stats: Stats) -> dict[str, dict]:
    return {"params": copy(train), "stats": copy(stats)}
