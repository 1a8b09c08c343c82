"""Episodes that are drawn within the compiled step, from data on the device."""

from collections.abc import Callable
from typing import Any

from tl_jax.tree import no_match
from tl_jax.types import Algorithm, Batch, Frozen, Key, Outputs, State, Stream

RESIDENT = "resident"
"""Where `frozen` holds the data that episodes are drawn from."""
TASK = "task"
"""The stream of a batch that says which tasks to draw: `index` [K], `weight` [K]."""
Draw = Callable[[Any, Stream], Batch]
"""(resident data, which tasks) -> {"support": stream, "query": stream}, [K B ...]."""


def sampled(algorithm: Algorithm, draw: Draw) -> Algorithm:
    """An algorithm whose batches are numbers of tasks, drawn where it runs.

    A batch is `{"task": {"index": [K], "weight": [K]}}`, so nothing but numbers travels
    to the device. The data are `frozen["resident"]`: an argument, like all that does
    not move. Batches that bring their own `support` pass unchanged. Raises `NoMatch`
    without the data.
    """

    def drawn(frozen: Frozen, batch: Batch) -> Batch:
        if TASK not in batch:
            return batch
        if RESIDENT not in frozen:
            raise no_match("frozen", RESIDENT, frozen)
        return draw(frozen[RESIDENT], batch[TASK])

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        return algorithm.step(state, frozen, drawn(frozen, batch), key)

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        return algorithm.predict(state, frozen, drawn(frozen, batch))

    return algorithm._replace(step=step, predict=predict)
