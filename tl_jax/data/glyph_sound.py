"""What would leak from a set of glyphs."""

from collections.abc import Mapping

import numpy as np

from tl_jax.data.class_splits import class_disjoint
from tl_jax.data.glyph_render import mark


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
