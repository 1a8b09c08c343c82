"""Episodes drawn on the device, within the compiled step: only their numbers travel.

`sampled(algorithm, draw)` calls `draw(resident, task)`; `resident` is what it draws
from. One program serves every seed, data set of those shapes, training and evaluation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tl_jax.data.class_table import ClassTable, Short, class_table
from tl_jax.data.columns import (
    Column,
    as_column,
    bucket_sizes,
    count_rows,
    row_lengths,
    take_inputs,
)
from tl_jax.data.task_numbers import at_least
from tl_jax.tree import no_match
from tl_jax.types import Array, Batch, Key, Stream

TABLE = (
    *("rows", "unit_start", "unit_size", "class_start", "class_size"),
    *("super_start", "super_size"),
)
"""The fields of a `ClassTable` that lie on the device."""
FAR = 2**30
"""Above every number that can be taken."""


class DeviceEpisodes(NamedTuple):
    """A `draw` of episodes; make one with `device_episodes`."""

    ways: int
    shots: int
    queries: int

    def __call__(self, resident: Mapping[str, Any], task: Stream) -> Batch:
        """The episodes of numbers `task["index"]` [K]; see `device_episodes`."""
        needed = self.ways, self.shots + self.queries
        if "capacity" not in resident:
            raise no_match("resident", "capacity", resident)
        room = resident["capacity"].shape
        if needed[0] > room[0] or needed[1] > room[1]:
            raise ValueError(
                f"ways, shots + queries are {needed}, but `resident` was made for at "
                f"most {room}: give it these ways, shots and queries"
            )
        keys = task_keys(resident, task)
        support, query = jax.vmap(lambda key: self.places(resident, key))(keys)
        return {
            "support": gathered(resident, task, *support),
            "query": gathered(resident, task, *query),
        }

    def places(self, resident: Mapping[str, Any], key: Key) -> tuple:
        """One episode: ((places [S], labels [S]), (places [Q], labels [Q]))."""
        ways, per = self.ways, self.shots + self.queries
        cuts = np.cumsum([1, ways, ways * per, ways * per, ways * self.shots])
        bits = jax.random.bits(key, (cuts[-1] + ways * self.queries,), jnp.uint32)
        which, by_class, by_unit, by_row, *orders = jnp.split(bits, cuts)
        sizes = jnp.asarray(resident["super_size"])
        family = below(which[0], len(sizes))
        chosen = jnp.asarray(resident["super_start"])[family]
        chosen += distinct_on_device(by_class, sizes[family])
        own = jnp.asarray(resident["class_size"])[chosen]
        units = jnp.asarray(resident["class_start"])[chosen][:, None]
        units += distinct_on_device(by_unit.reshape(ways, per), own)
        sizes = jnp.asarray(resident["unit_size"])[units]
        places = jnp.asarray(resident["unit_start"])[units]
        places += below(by_row.reshape(ways, per), sizes)
        labels = jnp.arange(ways, dtype=jnp.int32)[:, None]
        labels = jnp.broadcast_to(labels, places.shape)
        sides = []
        for part, order in zip(jnp.s_[: self.shots, self.shots :], orders, strict=True):
            at = jnp.argsort(order)
            sides.append((places[:, part].ravel()[at], labels[:, part].ravel()[at]))
        return tuple(sides)


def device_episodes(ways: int = 5, shots: int = 1, queries: int = 15) -> DeviceEpisodes:
    """`draw(resident, task)` of episodes, all of it traceable (Vinyals et al., 2016).

    task is {"index" [K], "weight" [K]} with, optionally, "seed" [K]: the seed is the
    task's, else `resident["seed"]`; an episode is a function of seed and index.
    Returns {"support", "query"}, leaves [K B ...]: labels 0..ways-1, `index` the rows
    of the source. Classes, their numbers and the order of rows are random. Raises
    ValueError for more than `resident` has room for.
    """
    for name, value in dict(ways=ways, shots=shots, queries=queries).items():
        at_least(name, value, 2 if name == "ways" else 1)
    return DeviceEpisodes(ways, shots, queries)


def resident(
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any = None,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    seed: int = 0,
    groups: Any = None,
    super_classes: Any = None,
    classes: Sequence[str] = (),
    short: Short = "raise",
    buckets: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What `device_episodes` draws from: the rows [M] of a split, by class.

    Arguments as of `episodes`; tokens are padded once, to the longest row's bucket.
    `ways`, `shots` and `queries` are the most that will be drawn. Leaves are NumPy's:
    place them where they belong. Raises ValueError as `episodes` does, and where a
    group has rows of two classes: the host alone keeps these apart.
    """
    how = dict(groups=groups, super_classes=super_classes, classes=classes, short=short)
    made, _ = held_table(
        columns, labels, rows, seed, buckets, ways=ways, needed=shots + queries, **how
    )
    capacity = np.zeros((ways, shots + queries), bool)  # its shape is known to a trace
    return made | {"capacity": capacity}


def held_table(
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any,
    seed: int,
    buckets: Sequence[int] | None,
    **how: Any,
) -> tuple[dict[str, Any], ClassTable]:
    """(What lies on the device of rows by class, the table on the host).

    `how` is what `class_table` takes. Raises as `resident` does.
    """
    columns = {name: as_column(name, column) for name, column in columns.items()}
    count_rows(columns, labels)
    table = class_table(labels, rows, **how)
    if table.groups is not None:
        raise ValueError(
            "groups: some have rows of two classes, which episodes drawn on the device "
            "cannot keep apart; draw them on the host, with `episodes`"
        )
    sizes = bucket_sizes(row_lengths(columns, table.rows), table.rows, buckets)
    inputs = take_inputs(columns, table.rows, sizes[-1] if sizes else None)
    numbers = {name: getattr(table, name).astype(np.int32) for name in TABLE}
    return {"inputs": inputs, "seed": np.uint32(seed), **numbers}, table


def task_keys(resident: Mapping[str, Any], task: Stream) -> Key:
    """[K] fold_in(key(seed), index), the seed the task's, else `resident`'s, else 0."""
    seeds = jnp.asarray(task.get("seed", resident.get("seed", 0)), jnp.uint32)
    index = jnp.asarray(task["index"])
    seeds = jnp.broadcast_to(seeds, index.shape)
    return jax.vmap(lambda s, i: jax.random.fold_in(jax.random.key(s), i))(seeds, index)


def distinct_on_device(bits: Array, sizes: Array) -> Array:
    """Numbers below each of `sizes` [...], no two alike, of random bits [... W].

    The next is the r-th of those not taken, as of `draws.distinct`: work and memory
    depend on W alone, whatever the sizes. Where W is above a size, the first that many
    are its permutation, and what follows is nothing.
    """
    width = bits.shape[-1]
    steps = jnp.arange(width, dtype=jnp.int32)
    ranks = below(bits, jnp.maximum(sizes[..., None] - steps, 1))

    def step(taken: Array, rank: Array) -> tuple[Array, Array]:
        past = (taken - steps <= rank[..., None]).sum(-1, dtype=jnp.int32)
        new, past = rank + past, past[..., None]
        after = jnp.where(steps == past, new[..., None], jnp.roll(taken, 1, -1))
        return jnp.where(steps < past, taken, after), new

    start = jnp.full(ranks.shape, FAR, jnp.int32)
    _, found = lax.scan(step, start, jnp.moveaxis(ranks, -1, 0), unroll=min(width, 4))
    return jnp.moveaxis(found, 0, -1)


def below(bits: Array, sizes: Array | int) -> Array:
    """Whole numbers 0..size-1 of 32 random bits, even to size / 2^32."""
    return (bits % jnp.asarray(sizes).astype(jnp.uint32)).astype(jnp.int32)


def gathered(
    resident: Mapping, task: Stream, places: Array, labels: Array, real: Any = True
) -> Stream:
    """A stream [K B ...] of the rows at places [K B]; `real` [K B] where they are."""
    weight = jnp.where(real, jnp.asarray(task["weight"])[:, None], 0)
    weight = jnp.broadcast_to(weight, places.shape)
    inputs = {
        name: jnp.asarray(column)[places] for name, column in resident["inputs"].items()
    }
    index = jnp.where(weight > 0, jnp.asarray(resident["rows"])[places], -1)
    return {"inputs": inputs, "labels": labels, "weight": weight, "index": index}
