"""Streams of two domains, and what keeps the target's labels out of them."""

from collections.abc import Iterable

import jax.numpy as jnp

from tl_jax.tree import no_match
from tl_jax.types import Array, Batch, Stream

SOURCE, TARGET, LABELLED = "source", "target", "target_labelled"
STREAMS = (SOURCE, TARGET, LABELLED)
"""Labelled rows, rows without labels, and target rows whose labels were opened."""
IMPORTANCE = "importance"
"""The input column [B] with what a row counts beside its weight; 1 without it."""


class LeakedLabels(ValueError):
    """Labels of the target domain where nobody opened them."""


def sealed(batch: Batch, opened: bool = False, needs: Iterable[str] = ()) -> Batch:
    """The batch, which holds no label of the target that was not opened.

    Raises `LeakedLabels` for a `target` with labels, or for a `target_labelled` that
    is not `opened`; `NoMatch` for another stream, or without one that is needed.
    """
    for name in batch:
        if name not in STREAMS:
            raise no_match("stream", name, STREAMS)
    for name in needs:
        if name not in batch:
            raise no_match("the batch has no stream", name, batch)
    if TARGET in batch and "labels" in batch[TARGET]:
        raise LeakedLabels(
            f"stream {TARGET!r} brings labels, which adaptation may not see; rows "
            f"whose labels are open belong in {LABELLED!r}"
        )
    if LABELLED in batch and not opened:
        raise LeakedLabels(
            f"stream {LABELLED!r} is there, but nobody opened it: `labelled=True` does"
        )
    return batch


def unlabelled(stream: Stream) -> Stream:
    """The stream without its labels."""
    return {name: leaf for name, leaf in stream.items() if name != "labels"}


def importance(stream: Stream) -> Array:
    """[B] what each row counts beside its weight."""
    own = stream["inputs"].get(IMPORTANCE)
    return jnp.ones_like(stream["weight"]) if own is None else own
