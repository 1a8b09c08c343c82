"""Which drawings make a class: look-alikes become one, copies are left out."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tl_jax.data.glyph_render import mark

ALIKE = 0.97
"""Drawings whose halved pixels have at least this cosine are alike."""


class Drawn(NamedTuple):
    """R drawings, in the order in which fonts come into question."""

    images: np.ndarray
    """uint8 [R S S]"""
    kinds: np.ndarray
    """[R] what was drawn, 0..K-1: a letter, or a letter turned."""
    fonts: np.ndarray
    """[R] by which font."""


class Chosen(NamedTuple):
    """Rows of `Drawn` that are kept, by class."""

    rows: np.ndarray
    labels: np.ndarray
    """[N] 0..C-1"""
    members: tuple[tuple[int, ...], ...]
    """The kinds of each class; the first names it."""
    across: int
    """Kinds left out as they look like one of another split."""
    shared: int
    """Drawings left out as another class has an equal one."""
    scarce: int
    """Groups of kinds with too few distinct drawings."""


def choose(drawn: Drawn, sides: Sequence[int], least: int, most: int) -> Chosen:
    """`least` to `most` distinct drawings of each class.

    Kinds that most fonts draw alike are one class. `sides` [K] is the split of each:
    of kinds alike across splits those of the first split stay. A drawing that equals
    one of another class is left out of both. Within a class no two are alike.
    """
    groups, across = _groups(drawn, sides)
    group = groups[drawn.kinds]
    marks = [mark(image) for image in drawn.images]
    owners = defaultdict(set)
    for own, name in zip(group, marks, strict=True):
        if own >= 0:
            owners[name].add(own)
    alone = np.asarray([len(owners[name]) == 1 for name in marks])
    rows, labels, members, scarce = [], [], [], 0
    for own in np.unique(groups[groups >= 0]):
        mine = np.flatnonzero((group == own) & alone)
        kept = mine[_apart(looks(drawn.images[mine]), most)]
        if len(kept) < least:
            scarce += 1
            continue
        rows.append(kept)
        labels += [len(members)] * len(kept)
        members.append(tuple(np.flatnonzero(groups == own).tolist()))
    taken = np.concatenate(rows) if rows else np.zeros(0, int)
    shared = int((~alone & (group >= 0)).sum())
    return Chosen(
        taken, np.asarray(labels, np.int32), tuple(members), across, shared, scarce
    )


def looks(images: np.ndarray) -> np.ndarray:
    """Unit vectors of the pictures at half their size. [R S S] -> float32 [R S*S/4]."""
    count, size = images.shape[:2]
    even = images[:, : size // 2 * 2, : size // 2 * 2].astype(np.float32)
    half = even.reshape(count, size // 2, 2, size // 2, 2).mean((2, 4))
    flat = half.reshape(count, (size // 2) ** 2)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _apart(vectors: np.ndarray, most: int) -> list[int]:
    """The first rows of which no two are alike, up to `most`."""
    close, kept = vectors @ vectors.T >= ALIKE, []
    for row in range(len(vectors)):
        if len(kept) == most:
            break
        if not close[row, kept].any():
            kept.append(row)
    return kept


def _groups(drawn: Drawn, sides: Sequence[int]) -> tuple[np.ndarray, int]:
    """(group [K] of each kind, -1 for those left out; how many those are)."""
    alike, drawers = _compared(drawn)

    def same(one: int, other: int) -> bool | None:
        """True if most fonts that draw both draw them alike; None if none draws both"""
        both = len(drawers[one] & drawers[other])
        return 2 * alike[min(one, other), max(one, other)] >= both if both else None

    group = {kind: [kind] for kind in range(len(sides))}
    for (one, other), _ in sorted(alike.items(), key=lambda pair: (-pair[1], pair[0])):
        if group[one] is group[other]:
            continue
        if any(same(a, b) is False for a in group[one] for b in group[other]):
            continue  # no chains, as from D over crossed letters to O
        joined = sorted(group[one] + group[other])
        group |= dict.fromkeys(joined, joined)
    first = {kind: min(sides[mate] for mate in group[kind]) for kind in group}
    late = [kind for kind in group if sides[kind] > first[kind]]
    named = {
        kind: next(mate for mate in group[kind] if sides[mate] == first[kind])
        for kind in group
    }
    groups = np.asarray([named[kind] for kind in group], int)
    groups[late] = -1
    return groups, len(late)


def _compared(drawn: Drawn) -> tuple[Counter, dict[int, set[int]]]:
    """(pair of kinds -> fonts that draw them alike; kind -> fonts that draw it)."""
    alike, drawers = Counter(), defaultdict(set)
    order = np.argsort(drawn.fonts, kind="stable")
    ends = np.flatnonzero(np.diff(drawn.fonts[order])) + 1
    for rows in np.split(order, ends):
        kinds = drawn.kinds[rows]
        for kind in kinds.tolist():
            drawers[kind].add(drawn.fonts[rows[0]])
        vectors = looks(drawn.images[rows])
        pairs = np.nonzero(np.triu(vectors @ vectors.T >= ALIKE, 1))
        for one, other in zip(*(kinds[side].tolist() for side in pairs), strict=True):
            alike[min(one, other), max(one, other)] += 1
    return alike, drawers
