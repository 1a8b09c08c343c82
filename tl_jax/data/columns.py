"""Columns of N rows: checked before they are served, gathered whole batches at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tl_jax.data.ragged import Ragged, pad

BUCKETS = (32, 64, 128, 256, 512)
"""Token lengths that batches are padded to: one program each."""
Column = np.ndarray | Ragged


def as_column(name: str, column: Any) -> Column:
    """Numbers or `Ragged` as they are; raises `TypeError` for texts and lists."""
    if isinstance(column, Ragged):
        return column
    kind = type(column).__name__
    if not hasattr(column, "dtype") or np.asarray(column).dtype.kind in "OUS":
        raise TypeError(f"{name}: expected numbers or `Ragged`, found {kind}: tokenise")
    return np.asarray(column)


def joined(columns: Sequence[Column]) -> Column:
    """The rows of several columns of one kind, one after another.

    Raises ValueError where they are not alike.
    """
    if all(isinstance(column, Ragged) for column in columns):
        flat = np.concatenate([column.flat for column in columns])
        lengths = np.concatenate([column.lengths for column in columns])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Ragged(flat, offsets.astype(columns[0].offsets.dtype), columns[0].fill)
    shapes = {np.shape(column)[1:] for column in columns}
    if len(shapes) > 1 or any(isinstance(column, Ragged) for column in columns):
        raise ValueError(f"rows have shapes {sorted(map(str, shapes))}, expected one")
    return np.concatenate(columns)


def between(column: Column, start: int, stop: int) -> Column:
    """The rows from `start` up to `stop`."""
    if not isinstance(column, Ragged):
        return column[start:stop]
    ends = column.offsets[start : stop + 1]
    return column._replace(flat=column.flat[ends[0] : ends[-1]], offsets=ends - ends[0])


def beside(streams: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of several chunks [K B ...] of streams beside one another, as one stream.

    Tokens are padded to the longest. Raises ValueError where inputs are not alike.
    """
    names = set.intersection(*(set(stream["inputs"]) for stream in streams))
    inputs = {n: _wide([s["inputs"][n] for s in streams]) for n in sorted(names)}
    rest = {name: [s[name] for s in streams] for name in streams[0] if name != "inputs"}
    return {"inputs": inputs} | {n: np.concatenate(x, 1) for n, x in rest.items()}


def _wide(parts: Sequence[np.ndarray]) -> np.ndarray:
    """[K B ...] of several; a third axis is padded with zeros."""
    if parts[0].ndim == 3:
        longest = max(part.shape[2] for part in parts)
        pads = [(0, 0), (0, 0)]
        parts = [np.pad(p, [*pads, (0, longest - p.shape[2])]) for p in parts]
    return np.concatenate(parts, 1)


def count_rows(columns: Mapping[str, Column], labels: Any) -> int:
    """N; raises `ValueError` for columns that disagree, or for none."""
    if not columns:
        raise ValueError("there are no columns to load")
    named = dict(columns) | ({} if labels is None else {"labels": labels})
    counts = {k: c.rows if isinstance(c, Ragged) else len(c) for k, c in named.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"columns differ in their number of rows: {counts}")
    return next(iter(counts.values()))


def row_lengths(columns: Mapping[str, Column], rows: np.ndarray) -> np.ndarray | None:
    """Entries of the longest `Ragged` column in these rows; None without any."""
    found = [c.sizes(rows) for c in columns.values() if isinstance(c, Ragged)]
    return np.max(found, axis=0) if found else None


def bucket_sizes(
    lengths: np.ndarray | None, rows: np.ndarray, buckets: Any
) -> tuple[int, ...]:
    """Buckets that hold rows of these lengths, ascending; () for no lengths.

    Without `buckets` it is the longest row alone. Raises `ValueError` naming a row
    longer than the largest bucket.
    """
    if lengths is None:
        return ()
    sizes = tuple(sorted(buckets or (int(lengths.max()),)))
    if lengths.max() > sizes[-1]:
        row = rows[lengths.argmax()]
        raise ValueError(
            f"row {row} has {lengths.max()} tokens, the largest bucket {sizes[-1]}: "
            "truncate when tokenising, or give a larger bucket"
        )
    return sizes


def take(column: Column, rows: np.ndarray, length: int | None) -> np.ndarray:
    """Rows [...] of a column: [... ...], `Ragged` ones filled up to `length`."""
    if not isinstance(column, Ragged):
        return column[rows]
    padded = pad(column, rows.ravel(), length)
    return padded.reshape(*rows.shape, *padded.shape[1:])


def take_inputs(
    columns: Mapping[str, Column], rows: np.ndarray, length: int | None
) -> dict[str, np.ndarray]:
    """Rows [...] of all columns; `Ragged` tokens get a `mask` [... T]."""
    inputs = {name: take(column, rows, length) for name, column in columns.items()}
    if isinstance(columns.get("tokens"), Ragged):
        lengths = columns["tokens"].sizes(rows)
        inputs["mask"] = np.arange(length) < lengths[..., None]
    return inputs
