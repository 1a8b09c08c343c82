"""Few-shot episodes by number: exact to resume, sharded, of static shapes.

An episode is a function of seed and number alone, and a whole chunk is drawn and
gathered at once. Classes, their numbers within an episode and the order of the rows
are random: episodes that are not shuffled flatter models that see an order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tl_jax.data.class_table import ClassTable, Short, class_table
from tl_jax.data.columns import (
    BUCKETS,
    Column,
    as_column,
    bucket_sizes,
    count_rows,
    row_lengths,
    take_inputs,
)
from tl_jax.data.draws import Fixed, Picks, Shape, Varied, apart
from tl_jax.data.ragged import bucket
from tl_jax.data.task_numbers import (
    EVALUATION,
    at_least,
    check_evaluation,
    check_numbers,
    span,
)
from tl_jax.types import Batch, Stream


class Episodes(NamedTuple):
    """Random access to batches of episodes; make one with `episodes`."""

    columns: Mapping[str, Column]
    table: ClassTable
    shape: Shape
    tasks: int
    """Episodes a step, over all shards."""
    seed: int = 0
    first: int = 0
    """Number of the first episode."""
    count: int | None = None
    """Episodes there are; None: for ever."""
    buckets: tuple[int, ...] = BUCKETS
    shard: int = 0
    shards: int = 1
    fill: int = 0
    """The row that padding holds: a short one, so that nothing is NaN or longer."""

    @property
    def steps(self) -> int | None:
        """Number of batches, None if there is no end."""
        return None if self.count is None else -(-self.count // self.tasks)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which classes were left out."""
        return self.table.notes

    def at(self, step: int) -> Batch:
        """The batch of a step: this shard's episodes.

        `{"support": stream, "query": stream}`, leaves [K B ...]: labels 0..ways-1,
        `index` the rows of the source. Padding has weight 0 and index -1: of smaller
        sets, and of all rows of episodes past the end.
        """
        chunk = self.chunk(step, 1)
        return {side: _first(stream) for side, stream in chunk.items()}

    def chunk(self, step: int, k: int) -> Batch:
        """The batches of `k` steps from `step`, stacked [k K B ...].

        Tokens of all have one length, the bucket of the longest row among them.
        """
        picks = _picked(self, step, k)
        places = np.concatenate([picks.support.ravel(), picks.query.ravel()])
        rows = self.table.rows[places[places >= 0]]
        lengths = row_lengths(self.columns, rows)
        length = None if lengths is None else bucket(int(lengths.max()), self.buckets)

        def mine(values: np.ndarray) -> np.ndarray:
            parts = values.reshape(k, self.shards, -1, values.shape[-1])
            return parts[:, self.shard]

        picks = Picks(*map(mine, picks))
        sides = {"support": picks[:2], "query": picks[2:]}
        return {side: _stream(self, *own, length) for side, own in sides.items()}


def episodes(
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any = None,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    tasks: int = 4,
    seed: int = 0,
    **how: Any,
) -> Episodes:
    """Episodes of `ways` classes, `shots` and `queries` rows of each (Vinyals et al.,
    2016).

    columns as of `loader`, labels [N] class ids, rows [M] those of a split. Settings
    that follow are those of `episodes_of`. Raises `ValueError` for what cannot be
    drawn, before anything is.
    """
    for name, value in dict(ways=ways, shots=shots, queries=queries).items():
        at_least(name, value, 2 if name == "ways" else 1)
    return episodes_of(
        Fixed(ways, shots, queries), columns, labels, rows, tasks, seed, **how
    )


def varied_episodes(
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any = None,
    *,
    min_ways: int = 5,
    max_ways: int = 50,
    max_support: int = 500,
    max_queries: int = 10,
    contribution: int = 100,
    tasks: int = 1,
    seed: int = 0,
    **how: Any,
) -> Episodes:
    """Episodes of random ways and unequal shots (Triantafillou et al., 2020).

    Ways are uniform in min_ways..max_ways, queries a class are the smaller of
    `max_queries` and half the smallest class, the shots of `Varied.shots`. Sets are
    padded to `max_support` and max_ways * max_queries rows. Settings that follow are
    those of `episodes_of`.
    """
    shape = check_varied(min_ways, max_ways, max_support, max_queries, contribution)
    return episodes_of(shape, columns, labels, rows, tasks, seed, **how)


def check_varied(
    min_ways: int, max_ways: int, max_support: int, max_queries: int, contribution: int
) -> Varied:
    """The shape of varied episodes; raises `ValueError` for one that makes none."""
    at_least("min_ways", min_ways, 2)
    at_least("max_ways", max_ways, min_ways)
    at_least("max_support", max_support, max_ways)
    at_least("max_queries", max_queries, 1)
    at_least("contribution", contribution, 1)
    return Varied(min_ways, max_ways, max_support, max_queries, contribution)


def episodes_of(
    shape: Shape,
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any,
    tasks: int,
    seed: int,
    *,
    groups: Any = None,
    super_classes: Any = None,
    classes: Sequence[str] = (),
    short: Short = "raise",
    buckets: Sequence[int] | None = BUCKETS,
    shard: int = 0,
    shards: int = 1,
) -> Episodes:
    """Episodes of a shape.

    groups: [N]; no number is in support and query of an episode: sentences of one
    document, equal pictures. super_classes: [C] by class id; an episode's classes are
    of one, drawn first, as of Omniglot's alphabets. classes: names for errors. short:
    "leave_out" goes on without classes that have too few rows, with a note. shard,
    shards: this process's part of each batch of `tasks` episodes.
    """
    check_numbers(tasks, seed, shard, shards)
    columns = {name: as_column(name, column) for name, column in columns.items()}
    count_rows(columns, labels)
    fixed = isinstance(shape, Fixed)
    table = class_table(
        labels,
        rows,
        ways=shape.ways if fixed else shape.min_ways,
        needed=shape.shots + shape.queries if fixed else 2,
        groups=groups,
        super_classes=super_classes,
        classes=classes,
        short=short,
    )
    lengths = row_lengths(columns, table.rows)
    sizes = bucket_sizes(lengths, table.rows, buckets)
    fill = int(table.rows[0 if lengths is None else lengths.argmin()])
    apart(table, shape, seed, 0, 4)  # raises where groups cannot be kept apart
    return Episodes(
        columns, table, shape, tasks, seed, 0, None, sizes, shard, shards, fill
    )


def evaluation_episodes(made: Episodes, count: int = 600, seed: int = 0) -> Episodes:
    """The `count` episodes to evaluate with, the same for every method and seed.

    Their numbers are none of training's. `made` says what they are drawn from and
    their shape, not which they are.
    """
    check_evaluation(count)
    return made._replace(seed=seed, first=EVALUATION, count=count)


def _picked(made: Episodes, step: int, k: int) -> Picks:
    """All shards' episodes [k * tasks]; -1 past the end."""
    total = k * made.tasks
    start, real = span(made.tasks, made.count, step, k)
    picks = apart(made.table, made.shape, made.seed, made.first + start, real)
    if real == total:
        return picks
    past = [(0, total - real), (0, 0)]
    return Picks(*(np.pad(values, past, constant_values=-1) for values in picks))


def _stream(
    made: Episodes, places: np.ndarray, labels: np.ndarray, length: int
) -> Stream:
    real = places >= 0
    rows = made.table.rows[places]
    return {
        "inputs": take_inputs(made.columns, np.where(real, rows, made.fill), length),
        "labels": np.maximum(labels, 0).astype(np.int32),
        "weight": real.astype(np.float32),
        "index": np.where(real, rows, -1).astype(np.int32),
    }


def _first(stream: Stream) -> Stream:
    inputs = {name: values[0] for name, values in stream["inputs"].items()}
    rest = {name: stream[name][0] for name in ("labels", "weight", "index")}
    return {"inputs": inputs, **rest}
