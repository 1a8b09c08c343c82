"""Rows by class: what an episode is drawn from, on the host and on a device."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from tl_jax.tree import one_of

Short = Literal["raise", "leave_out"]
"""What happens to a class with too few rows."""
SHOWN = 5


class ClassTable(NamedTuple):
    """Super-classes of classes of units of rows, each a range of the next.

    A unit is what an episode takes at most one row of: a group, or a row where there
    are no groups. Rows stand in the order of super-class, class and group, so that
    no table is padded to the largest class.
    """

    rows: np.ndarray
    """[M] row numbers of the source; all below are places in this order."""
    unit_start: np.ndarray
    """[U] first place of each unit."""
    unit_size: np.ndarray
    class_start: np.ndarray
    """[C] first unit of each class."""
    class_size: np.ndarray
    super_start: np.ndarray
    """[S] first class of each super-class."""
    super_size: np.ndarray
    classes: np.ndarray
    """[C] class ids of the source."""
    groups: np.ndarray | None = None
    """[M] where some group has rows of two classes; None: drawing keeps them apart."""
    notes: tuple[str, ...] = ()
    """Which classes were left out."""


def class_table(
    labels: Any,
    rows: Any = None,
    *,
    ways: int,
    needed: int,
    groups: Any = None,
    super_classes: Any = None,
    classes: Sequence[str] = (),
    short: Short = "raise",
) -> ClassTable:
    """The classes of `rows`, for episodes of `ways` classes with `needed` rows each.

    labels [N] class ids; `groups` [N]: of one number no two rows enter an episode on
    two sides; `super_classes` [C] by class id. Raises `ValueError` for labels that
    are no class ids, rows that are named twice or are not there, a class with fewer
    than `needed` rows (or groups) unless `short` is "leave_out", and where fewer than
    `ways` classes remain (in a super-class); `NoMatch` for an unknown `short`.
    """
    one_of("short", short, get_args(Short))
    labels, rows = class_ids_of(labels), chosen_rows(rows, len(labels))
    if labels[rows].min() < 0:
        row = rows[labels[rows].argmin()]
        raise ValueError(f"labels: row {row} has {labels[row]}, expected 0 or more")
    group = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if group.shape != labels.shape:
        raise ValueError(f"groups: expected [{len(labels)}], found {group.shape}")
    family = np.zeros_like(labels)
    if super_classes is not None:
        family = families(super_classes, labels)
    made = _sorted(labels, rows, group, family)
    what = "rows" if groups is None else "groups of rows"
    small = made.class_size < needed
    text = f"fewer than {needed} {what}, which an episode needs of each"
    made, first = _without(made, small, text, classes, short, labels, group, family)
    narrow = np.repeat(made.super_size < ways, made.super_size)
    if super_classes is None:
        narrow[:] = False
    text = f"fewer than {ways} classes in their super-class, the ways of an episode"
    made, second = _without(made, narrow, text, classes, short, labels, group, family)
    if made.super_size.max(initial=0) < ways:
        raise ValueError(
            f"{len(made.classes)} classes have at least {needed} {what}, expected "
            f"{ways} or more: the ways of an episode"
        )
    mixed = _spanning(labels[made.rows], group[made.rows])
    return made._replace(
        groups=group[made.rows] if mixed else None, notes=(*first, *second)
    )


def class_ids_of(labels: Any) -> np.ndarray:
    """Class ids [N] of whole numbers; raises `ValueError` for anything else."""
    found = np.asarray(labels) if labels is not None else np.zeros(0)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        kind = "None" if labels is None else f"{found.dtype} {list(found.shape)}"
        raise ValueError(f"labels: episodes need class ids [N], found {kind}")
    return found.astype(np.int64)


def chosen_rows(rows: Any, count: int) -> np.ndarray:
    """Row numbers [M], each once; raises `ValueError` for others."""
    chosen = np.arange(count) if rows is None else np.asarray(rows, np.int64)
    if not chosen.size:
        raise ValueError("there are no rows to draw episodes from")
    if chosen.min() < 0 or chosen.max() >= count:
        bad = chosen.min() if chosen.min() < 0 else chosen.max()
        raise ValueError(f"rows must be in 0..{count - 1}, found {bad}")
    known, times = np.unique(chosen, return_counts=True)
    if times.max() > 1:
        raise ValueError(
            f"row {known[times.argmax()]} is named {times.max()} times: it could be "
            "support and query of one episode"
        )
    return chosen


def families(super_classes: Any, labels: np.ndarray) -> np.ndarray:
    """[N] super-class of each row, numbers from 0, of one for each class id [C].

    Raises `ValueError` for too few.
    """
    found = np.asarray(super_classes)
    if found.ndim != 1 or labels.max() >= len(found):
        raise ValueError(
            f"super_classes: expected one for each of {labels.max() + 1} classes, "
            f"found {list(found.shape)}"
        )
    return np.unique(found, return_inverse=True)[1][labels]


def _sorted(
    labels: np.ndarray, rows: np.ndarray, group: np.ndarray, family: np.ndarray
) -> ClassTable:
    rows = rows[np.lexsort((rows, group[rows], labels[rows], family[rows]))]
    unit_start = _starts(labels[rows], group[rows])
    of_unit = labels[rows[unit_start]]
    class_start = _starts(of_unit)
    classes = of_unit[class_start]
    super_start = _starts(family[rows[unit_start[class_start]]])
    return ClassTable(
        rows,
        unit_start,
        np.diff(unit_start, append=len(rows)),
        class_start,
        np.diff(class_start, append=len(unit_start)),
        super_start,
        np.diff(super_start, append=len(classes)),
        classes,
    )


def _starts(*columns: np.ndarray) -> np.ndarray:
    """Where a new value begins in any of some sorted columns."""
    if not len(columns[0]):
        return np.zeros(0, np.int64)
    changed = np.any([np.diff(column) != 0 for column in columns], axis=0)
    return np.flatnonzero(np.concatenate([[True], changed]))


def _without(
    made: ClassTable,
    bad: np.ndarray,
    why: str,
    names: Sequence[str],
    short: Short,
    *by_row: np.ndarray,
) -> tuple[ClassTable, tuple[str, ...]]:
    """(The table without the bad classes, a note), or a `ValueError` naming them."""
    if not bad.any():
        return made, ()
    listed = [
        f"{f'{names[c]!r}' if len(names) else c} ({n})"
        for c, n in zip(made.classes[bad], made.class_size[bad], strict=True)
    ]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    text = f"{len(listed)} of {len(bad)} classes have {why}: "
    text += ", ".join(listed[:SHOWN]) + more
    if short == "raise":
        raise ValueError(f'{text}; short="leave_out" goes on without them')
    labels = by_row[0]
    rows = made.rows[~np.isin(labels[made.rows], made.classes[bad])]
    return _sorted(labels, rows, *by_row[1:]), (f"left out: {text}",)


def _spanning(labels: np.ndarray, group: np.ndarray) -> bool:
    """Whether some group has rows of two classes."""
    order = np.lexsort((labels, group))
    same = np.diff(group[order]) == 0
    return bool((same & (np.diff(labels[order]) != 0)).any())
