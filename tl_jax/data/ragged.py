"""Rows of different lengths, flat with offsets: the storage of token columns."""

import bisect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Ragged(NamedTuple):
    """N rows of different lengths; row i is `flat[offsets[i]:offsets[i + 1]]`."""

    flat: np.ndarray
    """[S ...] all rows, one after the other."""
    offsets: np.ndarray
    """[N + 1] where each row starts, and the end."""
    fill: int = 0
    """What padding holds."""

    @property
    def lengths(self) -> np.ndarray:
        """[N] entries a row."""
        return np.diff(self.offsets)

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Entries of the chosen rows, in their shape."""
        return self.offsets[rows + 1] - self.offsets[rows]

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return len(self.offsets) - 1


def ragged(rows: Sequence[Any], fill: int = 0, dtype: Any = np.int32) -> Ragged:
    """`Ragged` of a list of sequences, which may be pairs each."""
    lengths = np.asarray([len(row) for row in rows], np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    parts = [np.asarray(row, dtype) for row in rows if len(row)]
    flat = np.concatenate(parts) if parts else np.zeros(0, dtype)
    return Ragged(flat, offsets, fill)


def pad(column: Ragged, rows: np.ndarray, length: int) -> np.ndarray:
    """The chosen rows [B], each filled up to `length`: [B length ...].

    Raises `ValueError` for a row that is longer.
    """
    starts, sizes = column.offsets[rows], column.sizes(rows)
    if sizes.size and sizes.max() > length:
        row = rows[sizes.argmax()]
        raise ValueError(f"row {row} has {sizes.max()} entries, more than {length}")
    at = np.arange(length)
    inside = at < sizes[:, None]
    out = np.full((len(rows), length, *column.flat.shape[1:]), column.fill)
    out = out.astype(column.flat.dtype)
    out[inside] = column.flat[(starts[:, None] + at)[inside]]
    return out


def bucket(longest: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds `longest`; raises `ValueError` where none does."""
    place = bisect.bisect_left(buckets, longest)
    if place == len(buckets):
        raise ValueError(f"length {longest} is above the largest bucket {buckets[-1]}")
    return buckets[place]
