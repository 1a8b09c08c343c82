"""Training on augmented streams; evaluation sees them as they come."""

import jax

from tl_jax.tree import no_match, stable_key
from tl_jax.types import (
    Algorithm,
    Augment,
    Batch,
    Frozen,
    Key,
    Objective,
    State,
    Stream,
)


def augmented(
    objective: Objective, augment: Augment, stream: str = "train"
) -> Objective:
    """An objective of an augmented stream.

    Under microbatches each is augmented, and mixed, by itself. The objective's own
    draws stay what they were: the augmentation has a key of its own. Raises `NoMatch`
    for a batch without the stream.
    """

    def changed(params_of, memory, batch: Batch, key: Key):
        return objective(params_of, memory, _augment(augment, stream, batch, key), key)

    return changed


def augmented_steps(
    algorithm: Algorithm, augment: Augment, stream: str | None = "train"
) -> Algorithm:
    """An algorithm whose steps see an augmented stream, `predict` the plain one.

    With None every stream of the batch is augmented, each by a key of its own. The
    batch is augmented once a step, whole: microbatches, line searches and all stages
    share one result. Keys and errors as in `augmented`.
    """

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        for name in batch if stream is None else (stream,):
            batch = _augment(augment, name, batch, key)
        return algorithm.step(state, frozen, batch, key)

    return algorithm._replace(step=step)


def per_task(augment: Augment) -> Augment:
    """The same for a stream of tasks [K B ...]: each by itself, by a key of its own."""

    def apply(key: Key, stream: Stream) -> Stream:
        keys = jax.random.split(key, len(stream["weight"]))
        return jax.vmap(augment)(keys, stream)

    return apply


def _augment(augment: Augment, name: str, batch: Batch, key: Key) -> Batch:
    """The batch with one stream augmented, by a key that nothing else has."""
    if name not in batch:
        raise no_match("stream", name, batch)
    own = stable_key(key, "augment", name)
    return {**batch, name: augment(own, batch[name])}
