"""Splits as rows by name: deterministic, disjoint, and no text on two sides."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Splits = dict[str, np.ndarray]
"""Name -> sorted row numbers."""


def text_hash(text: str, seed: int = 0) -> int:
    """64 bits of a text, blind to white space; one value on every machine."""
    plain = f"{seed}\0" + " ".join(text.split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest())


def groups_of(texts: Sequence[str]) -> np.ndarray:
    """A group number [N] a row; equal texts (but for white space) share theirs."""
    _, groups = np.unique(
        np.asarray([text_hash(text) for text in texts], np.uint64), return_inverse=True
    )
    return groups


def by_text(
    texts: Sequence[str], fractions: Mapping[str, float], seed: int = 0
) -> Splits:
    """Split by a hash of each text alone.

    A text lands on the same side whatever else is in the data, so a set that grows
    never moves a document from test to train. Sizes are random about the fractions.
    """
    bounds = np.cumsum(shares_of(fractions))
    place = np.asarray([text_hash(text, seed) / 2**64 for text in texts])
    side = np.minimum(np.searchsorted(bounds, place, "right"), len(fractions) - 1)
    parts = {name: np.flatnonzero(side == i) for i, name in enumerate(fractions)}
    return disjoint(parts, len(texts))


def stratified(
    labels: Any,
    fractions: Mapping[str, float],
    seed: int = 0,
    *,
    groups: Any = None,
    classes: Sequence[str] = (),
) -> Splits:
    """Split every class by the same fractions; rows of one group stay together.

    Each part gets at least one group of each class. A group belongs to the class of
    its first row. Raises `ValueError` naming a class with too few groups.
    """
    labels, units = _units(labels, groups)
    shares = shares_of(fractions)
    random = np.random.default_rng(seed)
    parts: dict[str, list] = {name: [] for name in fractions}
    for label in np.unique(labels[[unit[0] for unit in units]]):
        mine = [unit for unit in units if labels[unit[0]] == label]
        _enough(label, len(mine), len(fractions), classes)
        mine = [mine[i] for i in random.permutation(len(mine))]
        ends = np.rint(np.cumsum(shares) * len(mine)).astype(int)
        for i in range(len(ends)):  # at least one a part, from the left and the right
            ends[i] = max(ends[i], i + 1)
        for i in range(len(ends)):
            ends[i] = min(ends[i], len(mine) - (len(ends) - 1 - i))
        for name, start, end in zip(fractions, [0, *ends], ends, strict=False):
            parts[name] += mine[start:end]
    rows = {name: np.sort(np.concatenate(part)) for name, part in parts.items()}
    return disjoint(rows, len(labels))


def few(
    labels: Any,
    k: int,
    k_val: int,
    seed: int = 0,
    *,
    rows: Any = None,
    groups: Any = None,
    classes: Sequence[str] = (),
) -> Splits:
    """`k` rows a class to train on and `k_val` others to choose by, out of `rows`.

    Of a group of equal texts one row is drawn at most. Raises `ValueError` naming a
    class with fewer than `k + k_val` groups. `k_val=0` leaves validation empty.
    """
    labels, units = _units(labels, groups, rows)
    first = np.asarray([unit[0] for unit in units])
    random = np.random.default_rng(seed)
    train, validation = [], []
    for label in np.unique(labels[first]):
        mine = first[labels[first] == label]
        _enough(label, len(mine), k + k_val, classes)
        drawn = random.permutation(mine)[: k + k_val]
        train.append(drawn[:k])
        validation.append(drawn[k:])
    parts = {"train": train, "validation": validation}
    found = {name: np.sort(np.concatenate(part)) for name, part in parts.items()}
    return disjoint(found, len(labels))


def disjoint(splits: Splits, rows: int) -> Splits:
    """The splits themselves; raises `ValueError` where two share a row."""
    seen = np.full(rows, -1)
    names = list(splits)
    for number, name in enumerate(names):
        taken = seen[splits[name]]
        if (taken >= 0).any():
            row = splits[name][(taken >= 0).argmax()]
            raise ValueError(f"row {row} is in {names[seen[row]]!r} and in {name!r}")
        seen[splits[name]] = number
    return splits


def shares_of(fractions: Mapping[str, float]) -> np.ndarray:
    """The fractions; raises `ValueError` unless they are positive and sum to 1."""
    shares = np.asarray(list(fractions.values()), float)
    if not len(shares) or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"fractions must be positive and sum to 1: {dict(fractions)}")
    return shares


def _units(
    labels: Any, groups: Any, rows: Any = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"splits by class need class ids [N], found {labels.shape}")
    rows = np.arange(len(labels)) if rows is None else np.sort(np.asarray(rows))
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups for {len(labels)} rows")
    order = rows[np.argsort(groups[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    units = np.split(order, starts)
    return labels, sorted(units, key=lambda unit: unit[0])


def _enough(label: int, found: int, needed: int, classes: Sequence[str]) -> None:
    if found < needed:
        name = f" ({classes[label]})" if len(classes) else ""
        raise ValueError(
            f"class {label}{name} has {found} distinct examples, {needed} are needed"
        )
