"""Episodes of random ways and unequal shots, drawn on the device in static shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.data.class_table import Short
from tl_jax.data.columns import Column
from tl_jax.data.draws import Varied
from tl_jax.data.episodes import check_varied
from tl_jax.data.resident import (
    below,
    distinct_on_device,
    gathered,
    held_table,
    task_keys,
)
from tl_jax.tree import no_match
from tl_jax.types import Array, Batch, Key, Stream

ROOM = "varied"
"""The leaf of `resident` whose shape says (fewest ways, units of the largest class)."""


class DeviceVaried(NamedTuple):
    """A `draw` of varied episodes; make one with `varied_device_episodes`."""

    shape: Varied

    def __call__(self, resident: Mapping[str, Any], task: Stream) -> Batch:
        """The episodes of numbers `task["index"]` [K]."""
        if ROOM not in resident:
            raise no_match("resident, of `varied_resident`,", ROOM, resident)
        fewest = resident[ROOM].shape[0]
        if self.shape.min_ways > fewest:
            raise ValueError(
                f"min_ways is {self.shape.min_ways}, but `resident` was made for "
                f"{fewest}: give it this min_ways"
            )
        keys = task_keys(resident, task)
        support, query = jax.vmap(lambda key: self.places(resident, key))(keys)
        return {
            "support": gathered(resident, task, *support),
            "query": gathered(resident, task, *query),
        }

    def places(self, resident: Mapping[str, Any], key: Key) -> tuple:
        """One episode: (places, labels, which of them are real) of both sides."""
        own = self.shape
        k_ways, k_class, k_beta, k_alpha, k_unit, k_row, *orders = jax.random.split(
            key, 8
        )
        which, extra = jax.random.bits(k_ways, (2,), jnp.uint32)
        families = jnp.asarray(resident["super_size"])
        family = below(which, len(families))
        most = jnp.minimum(own.max_ways, families[family])
        ways = own.min_ways + below(extra, most - own.min_ways + 1)
        label = jnp.arange(own.max_ways, dtype=jnp.int32)
        there = label < ways
        numbers = distinct_on_device(_bits(k_class, own.max_ways), families[family])
        chosen = jnp.asarray(resident["super_start"])[family]
        chosen += jnp.where(there, numbers, 0)
        sizes = jnp.asarray(resident["class_size"])[chosen]
        queries = jnp.where(there, sizes, sizes.max()).min() // 2
        queries = jnp.minimum(own.max_queries, queries)
        beta = 1 - jax.random.uniform(k_beta)
        ends = np.log(0.5), np.log(2)
        alpha = jax.random.uniform(
            k_alpha, (own.max_ways,), minval=ends[0], maxval=ends[1]
        )
        shots = self.shots(beta, alpha, sizes, sizes - queries, there)
        width = own.max_support - own.min_ways + 1 + own.max_queries
        width = min(width, resident[ROOM].shape[1])
        units = jnp.asarray(resident["class_start"])[chosen][:, None]
        number = jnp.arange(width, dtype=jnp.int32)
        drawn = distinct_on_device(_bits(k_unit, own.max_ways, width), sizes)
        support = there[:, None] & (number < shots[:, None])
        query = there[:, None] & (number < (shots + queries)[:, None]) & ~support
        units += jnp.where(support | query, drawn, 0)
        rows = below(
            _bits(k_row, *units.shape), jnp.asarray(resident["unit_size"])[units]
        )
        places = jnp.asarray(resident["unit_start"])[units] + rows
        label = jnp.broadcast_to(label[:, None], places.shape)
        return tuple(
            _mixed(order, room, real, places, label)
            for order, room, real in zip(
                orders, own.sizes, (support, query), strict=True
            )
        )

    def shots(
        self, beta: Array, alpha: Array, sizes: Array, left: Array, there: Array
    ) -> Array:
        """[W] rows of each class in the support set, of `Varied.shots`; 0 where no
        class is `there`."""
        own, ways = self.shape, there.sum()
        total = jnp.ceil(beta * jnp.minimum(own.contribution, left))
        total = jnp.minimum(own.max_support, jnp.where(there, total, 0).sum())
        share = jnp.where(there, jnp.exp(alpha) * sizes, 0)
        share = share / share.sum() * (total - ways)
        shots = jnp.minimum(share.astype(jnp.int32) + 1, left)
        return jnp.where(there, shots, 0)


def varied_device_episodes(
    min_ways: int = 5,
    max_ways: int = 50,
    max_support: int = 500,
    max_queries: int = 10,
    contribution: int = 100,
) -> DeviceVaried:
    """`draw(resident, task)` of episodes of random ways and unequal shots.

    The law of `varied_episodes` (Triantafillou et al., 2020), all of it traceable, from
    what `varied_resident` holds. Sets are padded to `max_support` and max_ways *
    max_queries rows, whose weight is 0 and index -1; else as of `device_episodes`.
    Raises ValueError for numbers that make no episode.
    """
    return DeviceVaried(
        check_varied(min_ways, max_ways, max_support, max_queries, contribution)
    )


def varied_resident(
    columns: Mapping[str, Column],
    labels: Any,
    rows: Any = None,
    *,
    min_ways: int = 5,
    seed: int = 0,
    groups: Any = None,
    super_classes: Any = None,
    classes: Sequence[str] = (),
    short: Short = "raise",
    buckets: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What `varied_device_episodes` draws from: the rows [M] of a split, by class.

    `min_ways` are the most that a draw asks for; classes need two rows. Else as of
    `resident`, which raises the same.
    """
    how = dict(groups=groups, super_classes=super_classes, classes=classes, short=short)
    made, table = held_table(
        columns, labels, rows, seed, buckets, ways=min_ways, needed=2, **how
    )
    return made | {ROOM: np.zeros((min_ways, table.class_size.max()), bool)}


def _bits(key: Key, *shape: int) -> Array:
    return jax.random.bits(key, shape, jnp.uint32)


def _mixed(key: Key, room: int, real: Array, *values: Array) -> tuple[Array, ...]:
    """(values..., real) [room]: the real ones in random order, then padding of 0."""
    order = jnp.where(real.ravel(), _bits(key, real.size) >> 1, jnp.uint32(2**31))
    at = jnp.argsort(order)[:room]
    short = room - len(at)
    return tuple(
        jnp.pad(jnp.where(real.ravel()[at], value.ravel()[at], 0), (0, short))
        for value in (*values, real)
    )
