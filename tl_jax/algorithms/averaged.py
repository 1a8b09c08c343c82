"""Predictions by a running average of the weights, whatever moves them."""

from collections.abc import Callable

from tl_jax.algorithms.core import mixed
from tl_jax.tree import copy
from tl_jax.types import Algorithm, Array, Batch, Frozen, Key, Outputs, State

AVERAGE = "average"
"""Where `memory` holds the averages, by player."""


def averaged(
    algorithm: Algorithm, decay: float | Callable[[Array], Array]
) -> Algorithm:
    """The algorithm, whose predictions use memory["average"], player by player.

    average <- decay average + (1 - decay) train after each step, of the moving leaves
    of all players; `decay` as of `ema`. Training itself does not see it.
    """

    def init(key: Key, players) -> tuple[State, Frozen]:
        state, frozen = algorithm.init(key, players)
        memory = state.memory | {AVERAGE: copy(state.train)}
        return state._replace(memory=memory), frozen

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        kept = decay(state.step) if callable(decay) else decay
        state, metrics = algorithm.step(state, frozen, batch, key)
        new = mixed(kept, state.memory[AVERAGE], state.train)
        return state._replace(memory=state.memory | {AVERAGE: new}), metrics

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        own = state._replace(train=state.memory[AVERAGE])
        return algorithm.predict(own, frozen, batch)

    return Algorithm(init, step, predict)
