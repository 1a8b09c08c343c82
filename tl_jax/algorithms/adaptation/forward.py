"""The forward pass of several domains, in one batch or one after another."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Side
from tl_jax.algorithms.adaptation.streams import STREAMS
from tl_jax.types import Array, Batch, Key, Model, Params, Stats, Stream

Sides = Mapping[str, Side]


def forward(
    model: Model,
    params: Params,
    stats: Stats,
    batch: Batch,
    key: Key | None,
    joint: bool = True,
) -> tuple[Sides, Stats]:
    """Each stream's outputs, and statistics that training moved.

    `joint` passes all rows at once, so that batch norm is over the domains together;
    otherwise each domain is normalised by itself, the source first. The statistics of
    a joint pass are of both; of several, each domain moves them in turn.
    """
    names = [name for name in STREAMS if name in batch]
    if not joint or len(names) == 1:
        sides = {}
        for i, name in enumerate(names):
            own = None if key is None else jax.random.fold_in(key, i)
            outputs, stats = model.apply(
                params, stats, batch[name]["inputs"], key=own, norm="batch"
            )
            sides[name] = Side(outputs, batch[name])
        return sides, stats
    streams = aligned([batch[name] for name in names])
    inputs = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves),
        *(_shared(stream, streams) for stream in streams),
    )
    outputs, stats = model.apply(params, stats, inputs, key=key, norm="batch")
    sides, start = {}, 0
    for name, stream in zip(names, streams, strict=True):
        span = slice(start, start + len(stream["weight"]))
        own = jax.tree.map(lambda leaf, span=span: leaf[span], outputs)
        sides[name], start = Side(own, stream), span.stop
    return sides, stats


def aligned(streams: list[Stream]) -> list[Stream]:
    """The streams with rows of tokens padded to one length, masked; others as given.

    Raises ValueError where inputs differ in shape otherwise.
    """
    if all("mask" in stream["inputs"] for stream in streams):
        longest = max(stream["inputs"]["mask"].shape[1] for stream in streams)
        streams = [_padded(stream, longest) for stream in streams]
    first = streams[0]["inputs"]
    for stream in streams[1:]:
        for name in first.keys() & stream["inputs"].keys():
            here, there = first[name].shape, stream["inputs"][name].shape
            if here[1:] != there[1:]:
                raise ValueError(
                    f"input {name!r}: rows of one domain are {list(here[1:])}, of the "
                    f"other {list(there[1:])}; expected one shape, or joint=False"
                )
    return streams


def _padded(stream: Stream, length: int) -> Stream:
    own = stream["inputs"]["mask"].shape[1]

    def pad(leaf: Array) -> Array:
        if leaf.ndim < 2 or leaf.shape[1] != own:
            return leaf
        return jnp.pad(leaf, [(0, 0), (0, length - own)] + [(0, 0)] * (leaf.ndim - 2))

    return {**stream, "inputs": {n: pad(x) for n, x in stream["inputs"].items()}}


def _shared(stream: Stream, streams: list[Stream]) -> dict[str, Array]:
    """The inputs that all streams have: weights of one domain are not for the model."""
    names = set.intersection(*(set(other["inputs"]) for other in streams))
    return {name: leaf for name, leaf in stream["inputs"].items() if name in names}
