"""What every way of weighting source rows returns, and what it checks first."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators import checks

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Weights(NamedTuple):
    """Weights of source rows under which they stand for target rows."""

    values: np.ndarray
    """[N] float64, at least 0; 1 everywhere where the two sides are alike."""
    ratio: Callable[[ArrayLike], np.ndarray] | None = None
    """rows [B D] -> the density ratio target / source [B]; None where the method
    knows the given rows alone."""
    found: Mapping[str, Any] = NOTHING
    """What was chosen, and how exactly it was solved, by name."""


def two_sides(source: ArrayLike, target: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(source [N D], target [M D]) in float64.

    Raises ValueError for shapes that do not fit and values that are not finite.
    """
    for name, rows in (("source", source), ("target", target)):
        if np.ndim(rows) != 2 or 0 in np.shape(rows):
            raise ValueError(f"{name} rows have shape {np.shape(rows)}, expected [N D]")
        checks.check_finite(f"{name} rows", rows)
    if np.shape(source)[1] != np.shape(target)[1]:
        raise ValueError(
            f"source rows are {np.shape(source)[1]} wide, "
            f"target rows {np.shape(target)[1]}"
        )
    return np.asarray(source, np.float64), np.asarray(target, np.float64)


def positive(name: str, value: float, most: float = np.inf) -> None:
    """Raise ValueError unless 0 < value <= most and value is finite."""
    if not (0 < value <= most and np.isfinite(value)):
        top = "" if most == np.inf else f" and at most {most:g}"
        raise ValueError(f"{name} is {value}, expected a finite number above 0{top}")


def count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number of at least `least`."""
    if value != int(value) or value < least:
        raise ValueError(f"{name} is {value}, expected a whole number >= {least}")
