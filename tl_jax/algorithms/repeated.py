"""A stage several times within a step."""

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.types import Batch, Frozen, Key, Stage, State


def repeated(stage: Stage, times: int) -> Stage:
    """The stage `times` times on one batch, each with a key of its own, compiled once.

    Metrics are the last time's. Raises ValueError for fewer than one.
    """
    if times < 1:
        raise ValueError(f"repeated: {times} times, expected at least 1")

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        def again(state: State, place):
            return stage.step(state, frozen, batch, jax.random.fold_in(key, place))

        state, metrics = lax.scan(again, state, jnp.arange(times))
        return state, jax.tree.map(lambda leaf: leaf[-1], metrics)

    return Stage(stage.init, step)
