"""Splits of classes, not of rows: nothing of a tested class was seen before."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax.data.class_table import class_ids_of, families
from tl_jax.data.splits import Splits, disjoint, shares_of
from tl_jax.tree import nearest


def class_splits(
    labels: Any,
    fractions: Mapping[str, float],
    seed: int = 0,
    *,
    super_classes: Any = None,
    groups: Any = None,
    classes: Sequence[str] = (),
) -> Splits:
    """Rows of labels [N] by name, every class on one side, by fractions of the classes.

    With `super_classes` [C] these stay whole: Omniglot's alphabets. Raises ValueError
    for fewer of either than parts, and as `class_disjoint`.
    """
    labels, shares = class_ids_of(labels), shares_of(fractions)
    family = labels if super_classes is None else families(super_classes, labels)
    units = np.unique(family)
    if len(units) < len(shares):
        what = "classes" if super_classes is None else "super-classes"
        raise ValueError(f"{len(units)} {what} do not make {len(shares)} parts")
    order = np.random.default_rng(seed).permutation(units)
    ends = np.rint(np.cumsum(shares) * len(units)).astype(int)
    for i in range(len(ends)):  # at least one a part, whatever rounding says
        low = 1 + (ends[i - 1] if i else 0)
        ends[i] = min(max(ends[i], low), len(units) - (len(ends) - 1 - i))
    parts = np.split(order, ends[:-1])
    found = {
        name: np.flatnonzero(np.isin(family, part))
        for name, part in zip(fractions, parts, strict=True)
    }
    return class_disjoint(labels, found, groups=groups, classes=classes)


def class_disjoint(
    labels: Any, splits: Splits, *, groups: Any = None, classes: Sequence[str] = ()
) -> Splits:
    """The splits themselves, a source's own, where no two share a class.

    Raises ValueError naming a row, a class, or a number of `groups` [N] (equal
    pictures, say) that two of them share.
    """
    labels = class_ids_of(labels)
    disjoint(splits, len(labels))
    columns = {"class": labels}
    if groups is not None:
        columns["group"] = np.asarray(groups)
    names = list(splits)
    for what, values in columns.items():
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                both = np.intersect1d(values[splits[one]], values[splits[other]])
                if len(both):
                    named = what == "class" and len(classes)
                    first = f"{both[0]} ({classes[both[0]]})" if named else both[0]
                    raise ValueError(
                        f"{what} {first} is in {one!r} and in {other!r}, and "
                        f"{len(both) - 1} more; expected it in one"
                    )
    return splits


def rows_of_classes(
    labels: Any, parts: Mapping[str, Sequence[str]], classes: Sequence[str]
) -> Splits:
    """Rows of published lists of class names: miniImageNet's 64, 16 and 20, say.

    Raises ValueError for a name that is no class, with the nearest, and as
    `class_disjoint`.
    """
    labels, found = class_ids_of(labels), {}
    known = {name: i for i, name in enumerate(classes)}
    for part, names in parts.items():
        for name in names:
            if name not in known:
                close = ", ".join(nearest(name, classes))
                raise ValueError(f"{part}: {name!r} is no class; nearest: {close}")
        ids = [known[name] for name in names]
        found[part] = np.flatnonzero(np.isin(labels, ids))
    return class_disjoint(labels, found, classes=classes)
