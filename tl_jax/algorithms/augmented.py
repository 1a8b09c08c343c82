"""Augmentation inside a step, on the device."""

from tl_jax.tree import stable_key
from tl_jax.types import Algorithm, Augment, Batch, Frozen, Key, State


def augmented(
    algorithm: Algorithm, augment: Augment, stream: str = "train"
) -> Algorithm:
    """The algorithm with one stream of every batch changed by `augment(key, stream)`.

    The draws depend on the step's key and the place in the batch, so that a run that
    is resumed or spread over devices sees the same pictures. `predict` sees its own.
    """

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        changed = augment(stable_key(key, "augment"), batch[stream])
        return algorithm.step(state, frozen, {**batch, stream: changed}, key)

    return algorithm._replace(step=step)
