"""Splits by class, as few-shot learning needs them, and what would leak."""

from collections.abc import Mapping

import numpy as np

from tl_jax.data.glyph_render import mark
from tl_jax.data.sources import Examples, task


def sound(
    images: np.ndarray, labels: np.ndarray, splits: Mapping[str, np.ndarray]
) -> None:
    """Raise ValueError for a blank, ink in two classes or twice in one, or a class
    in two splits.
    """
    first: dict[bytes, int] = {}
    for row, image in enumerate(images):
        if not (name := mark(np.squeeze(image))):
            raise ValueError(f"row {row} of class {labels[row]} is blank")
        if name in first:
            other = first[name]
            raise ValueError(
                f"rows {other} and {row} have the same ink, in classes "
                f"{labels[other]} and {labels[row]}"
            )
        first[name] = row
    class_disjoint(labels, splits)


def class_disjoint(labels: np.ndarray, splits: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where a class has rows in two splits."""
    owner: dict[int, str] = {}
    for split, rows in splits.items():
        for label in np.unique(np.asarray(labels)[rows]).tolist():
            if label in owner:
                raise ValueError(
                    f"class {label} is in {owner[label]!r} and in {str(split)!r}"
                )
            owner[label] = str(split)


def by_class(examples: Examples) -> Examples:
    """The examples themselves, if no class has rows in two of their splits.

    Raises ValueError for examples without classes or splits and for such a class.
    """
    if task(examples) != "classes" or not examples.splits:
        raise ValueError(f"{examples.name}: there are no splits by class")
    try:
        class_disjoint(examples.labels, examples.splits)
    except ValueError as error:
        raise ValueError(f"{examples.name}: {error}") from None
    return examples
