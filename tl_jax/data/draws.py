"""Random episodes as places in a `ClassTable`, each a function of (seed, number)."""

from typing import NamedTuple

import numpy as np

from tl_jax.data.class_table import ClassTable

ATTEMPTS = 200
"""Draws of an episode before it counts as impossible to keep groups apart."""


class Picks(NamedTuple):
    """K episodes; -1 is padding."""

    support: np.ndarray
    """[K S] places in the table."""
    support_labels: np.ndarray
    """[K S] 0..ways-1."""
    query: np.ndarray
    query_labels: np.ndarray


class Fixed(NamedTuple):
    """Episodes of as many ways, shots and queries each."""

    ways: int
    shots: int
    queries: int
    """A class."""

    @property
    def sizes(self) -> tuple[int, int]:
        """(S, Q): rows of a support and of a query set."""
        return self.ways * self.shots, self.ways * self.queries

    def draw(self, table: ClassTable, key: np.ndarray, first: int, count: int) -> Picks:
        """Episodes `first` to `first + count`.

        Every episode has its own range of the generator's counter, so that a batch is
        one call.
        """
        ways, per = self.ways, self.shots + self.queries
        cuts = np.cumsum([1, ways, ways * per, ways * per, ways * self.shots])
        parts = _uniforms(key, first, count, cuts[-1] + ways * self.queries)
        which, by_class, by_unit, by_row, *orders = np.split(parts, cuts, axis=1)
        family = _below(which[:, 0], len(table.super_size))
        chosen = table.super_start[family, None] + distinct(
            by_class, table.super_size[family]
        )
        units = table.class_start[chosen][..., None] + distinct(
            by_unit.reshape(count, ways, per), table.class_size[chosen]
        )
        rows = _below(by_row.reshape(units.shape), table.unit_size[units])
        places = table.unit_start[units] + rows
        labels = np.broadcast_to(np.arange(ways)[:, None], places.shape)
        found = []
        for own, order in zip(
            (slice(self.shots), slice(self.shots, None)), orders, strict=True
        ):
            at = np.argsort(order, axis=1)
            for values in (places, labels):
                flat = values[..., own].reshape(count, -1)
                found.append(np.take_along_axis(flat, at, 1))
        return Picks(*found)


class Varied(NamedTuple):
    """Episodes of random ways and shots (Triantafillou et al., 2020, appendix A)."""

    min_ways: int
    max_ways: int
    max_support: int
    """Rows of a support set."""
    max_queries: int
    """Queries a class."""
    contribution: int
    """Rows of a class that count for the size of a support set."""

    @property
    def sizes(self) -> tuple[int, int]:
        """(S, Q): rows of the largest support and query set."""
        return self.max_support, self.max_ways * self.max_queries

    def draw(self, table: ClassTable, key: np.ndarray, first: int, count: int) -> Picks:
        """Episodes `first` to `first + count`, one after another."""
        found = [self._one(table, key, first + i) for i in range(count)]
        return Picks(*map(np.stack, zip(*found, strict=True)))

    def _one(self, table: ClassTable, key: np.ndarray, number: int) -> list:
        random = np.random.Generator(np.random.Philox(key=key, counter=number << 64))
        family = random.integers(len(table.super_size))
        most = table.super_size[family]
        ways = random.integers(self.min_ways, min(self.max_ways, most) + 1)
        chosen = random.choice(most, ways, replace=False) + table.super_start[family]
        sizes = table.class_size[chosen]
        queries = min(self.max_queries, sizes.min() // 2)
        shots = self.shots(random, sizes, sizes - queries)
        parts = ([], []), ([], [])
        for label, (size, start) in enumerate(
            zip(sizes, table.class_start[chosen], strict=True)
        ):
            own = random.choice(size, shots[label] + queries, replace=False) + start
            own = table.unit_start[own] + _below(
                random.random(len(own)), table.unit_size[own]
            )
            for part, rows in zip(parts, np.split(own, [shots[label]]), strict=True):
                part[0].append(rows)
                part[1].append(np.full(len(rows), label))
        found = []
        for part, room in zip(parts, self.sizes, strict=True):
            order = random.permutation(sum(map(len, part[0])))
            for values in part:
                full = np.full(room, -1)
                full[: len(order)] = np.concatenate(values)[order]
                found.append(full)
        return found

    def shots(
        self, random: np.random.Generator, sizes: np.ndarray, left: np.ndarray
    ) -> np.ndarray:
        """[ways] rows of each class in the support set, 1 or more and at most `left`.

        |S| = min(max_support, sum_c ceil(beta min(contribution, left_c))), beta uniform
        in (0, 1]; R_c = exp(alpha_c) size_c / sum_j exp(alpha_j) size_j, alpha uniform
        in [log .5, log 2); shots_c = min(floor(R_c (|S| - ways)) + 1, left_c).
        """
        beta = 1 - random.random()
        total = np.ceil(beta * np.minimum(self.contribution, left)).sum()
        total = min(self.max_support, int(total))
        share = np.exp(random.uniform(np.log(0.5), np.log(2), len(sizes))) * sizes
        share = share / share.sum() * (total - len(sizes))
        return np.minimum(share.astype(int) + 1, left)


Shape = Fixed | Varied


def apart(table: ClassTable, shape: Shape, seed: int, first: int, count: int) -> Picks:
    """Episodes whose support and query sets share no group.

    Of one class no group is drawn twice; where a group has rows of several classes,
    an episode that shares one is drawn again: uniform over those that don't. Raises
    `ValueError` where that never happens.
    """
    picks = shape.draw(table, _key(seed, 0), first, count)
    if table.groups is None:
        return picks
    for k in np.flatnonzero(shared(table, picks)):
        for attempt in range(1, ATTEMPTS):
            one = shape.draw(table, _key(seed, attempt), first + int(k), 1)
            if not shared(table, one)[0]:
                break
        else:
            raise ValueError(
                f"groups: {ATTEMPTS} draws of an episode all had a group in support "
                "and query; expected more groups a class, or fewer shots and queries"
            )
        for whole, part in zip(picks, one, strict=True):
            whole[k] = part[0]
    return picks


def shared(table: ClassTable, picks: Picks) -> np.ndarray:
    """[K] whether a group of the support set is in the query set too."""
    pairs = zip(picks.support, picks.query, strict=True)
    group = table.groups
    return np.array(
        [np.isin(group[s[s >= 0]], group[q[q >= 0]]).any() for s, q in pairs]
    )


def distinct(uniform: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Numbers below `sizes` [...], no two alike: [... W] of uniform ones [... W].

    The next is the r-th of those not taken, r = floor(u (size - taken)): with the taken
    ones sorted, r and as many as there are j with taken_j - j <= r.
    """
    width = uniform.shape[-1]
    steps = np.arange(width)
    ranks = _below(uniform, np.asarray(sizes)[..., None] - steps)
    taken, out = np.empty_like(ranks), np.empty_like(ranks)
    for i in range(width):
        rank = ranks[..., i]
        past = (taken[..., :i] - steps[:i] <= rank[..., None]).sum(-1)
        out[..., i] = taken[..., i] = rank + past
        taken[..., : i + 1].sort(-1)
    return out


def _below(uniform: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Whole numbers 0..size-1 of uniform ones in [0, 1)."""
    return (uniform * size).astype(np.int64)


def _key(seed: int, attempt: int) -> np.ndarray:
    return np.random.SeedSequence((seed, attempt)).generate_state(2, np.uint64)


def _uniforms(key: np.ndarray, first: int, count: int, width: int) -> np.ndarray:
    """[count width] in [0, 1); row i is a function of key and `first + i`."""
    blocks = -(-width // 4)  # a block of the counter is four numbers
    bits = np.random.Philox(key=key, counter=first * blocks)
    return np.random.Generator(bits).random((count, blocks * 4))[:, :width]
