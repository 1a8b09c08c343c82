"""Raw examples: columns and labels as they are, checked once, before any training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tl_jax.tree import nearest


class Examples(NamedTuple):
    """N examples as columns, with what must be known about them."""

    inputs: dict[str, Any]
    """Column -> list of N texts (or word lists), or an array [N ...]."""
    labels: Any
    """Class ids [N], targets [N] (float), multi-hot [N C], spans [N 2], per-word id
    lists, or None."""
    classes: tuple[str, ...] = ()
    """Class names; empty for regression, spans and unlabelled data."""
    splits: Mapping[str, np.ndarray] = {}
    """The source's own splits: name -> row numbers."""
    name: str = "examples"
    licence: str = "not stated"
    notes: tuple[str, ...] = ()
    """What was unusual about the source, for the user."""
    groups: np.ndarray | None = None
    """[N] rows of one number belong on one side of a split: a document's sentences."""


def size(examples: Examples) -> int:
    """N, the number of examples."""
    return rows_of(next(iter(examples.inputs.values())))


def rows_of(column: Any) -> int:
    """Number of rows of a list, an array, or a column that knows it itself."""
    return column.rows if hasattr(column, "rows") else len(column)


def task(examples: Examples) -> str:
    """What is known of each example: classes, multi-label, words, spans, numbers,
    texts that answer it, or none.
    """
    labels = examples.labels
    if labels is None:
        return "texts" if "target" in examples.inputs else "none"
    if isinstance(labels, list):
        return "words"
    if labels.ndim == 2:
        return "multi-label" if examples.classes else "spans"
    return "classes" if examples.classes else "numbers"


def from_arrays(
    inputs: Mapping[str, Any],
    labels: Any = None,
    classes: Sequence[str] = (),
    splits: Mapping[str, Any] | None = None,
    name: str = "arrays",
    licence: str = "not stated",
    notes: Sequence[str] = (),
) -> Examples:
    """Examples from columns in memory; text labels become ids of `classes`.

    Without `classes` the names are the sorted distinct labels (texts), or the numbers
    up to the largest (whole numbers); float labels are targets. Lists of lists are
    labels of words; an array [N C] is multi-hot, with [N 2] of whole numbers and no
    classes a span.

    Raises `ValueError` for no rows, ragged rows, NaN and labels out of range.
    """
    if not inputs:
        raise ValueError(f"{name}: there is no input column")
    columns = {key: _column(name, key, value) for key, value in inputs.items()}
    rows = rows_of(next(iter(columns.values())))
    if not rows:
        raise ValueError(f"{name}: there are no examples")
    for key, value in columns.items():
        if rows_of(value) != rows:
            raise ValueError(
                f"{name}: column {key!r} has {rows_of(value)} rows, not {rows}"
            )
    if labels is not None and len(labels) != rows:
        raise ValueError(f"{name}: {len(labels)} labels for {rows} examples")
    ids, names = _labels(name, labels, tuple(map(str, classes)))
    parts = {k: np.asarray(v, np.int64) for k, v in (splits or {}).items()}
    for key, value in parts.items():
        if value.size and not 0 <= value.min() <= value.max() < rows:
            raise ValueError(f"{name}: split {key!r} names rows outside 0..{rows - 1}")
    return Examples(columns, ids, names, parts, name, licence, tuple(notes))


def _column(name: str, key: str, value: Any) -> Any:
    if hasattr(value, "rows"):  # `Pictures`, which were checked when they were made
        return value
    if isinstance(value, np.ndarray):
        column = value
    else:
        column = list(value)
        if not column or isinstance(column[0], str):
            return _texts(name, key, column)
        if isinstance(column[0], (list, tuple)) and any(
            isinstance(word, str) for words in column for word in words
        ):
            return column
        column = _stack(name, key, column)
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        bad = ~np.isfinite(column.reshape(len(column), -1)).all(1)
        raise ValueError(f"{name}: column {key!r}, row {bad.argmax()}: not finite")
    if column.dtype.kind in "OUS":
        return _texts(name, key, column.tolist())
    return column


def _texts(name: str, key: str, column: list) -> list[str]:
    for row, text in enumerate(column):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise ValueError(
                f"{name}: column {key!r}, row {row}: expected text, found {kind}"
            )
    return column


def _stack(name: str, key: str, column: list) -> np.ndarray:
    rows = [np.asarray(row) for row in column]
    for number, row in enumerate(rows):
        if row.shape != rows[0].shape:
            raise ValueError(
                f"{name}: column {key!r}, row {number}: shape {row.shape}, "
                f"but row 0 has {rows[0].shape}"
            )
    return np.stack(rows)


def _labels(name: str, labels: Any, classes: tuple[str, ...]) -> tuple[Any, tuple]:
    if labels is None:
        return None, classes
    if not isinstance(labels, np.ndarray) and isinstance(labels[0], (list, tuple)):
        if not classes or any(isinstance(i, str) for row in labels for i in row):
            classes = classes or tuple(sorted({str(i) for r in labels for i in r}))
        return _word_ids(name, labels, classes), classes
    array = np.asarray(labels)
    if array.dtype.kind in "OUS":
        texts = [str(label) for label in array]
        classes = classes or tuple(sorted(set(texts)))
        return class_ids(name, texts, classes), classes
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
        if bad.any():
            raise ValueError(f"{name}: label of row {bad.argmax()} is not finite")
        if array.ndim == 1:
            if classes:
                raise ValueError(f"{name}: float labels with {len(classes)} classes")
            return array.astype(np.float32), ()
    if array.ndim == 2:
        return _two_columns(name, array, classes), classes
    array = array.astype(np.int32)
    if array.min() < 0 or (classes and array.max() >= len(classes)):
        row = int(((array < 0) | (array >= (len(classes) or np.inf))).argmax())
        top = len(classes) - 1 if classes else "the largest"
        raise ValueError(f"{name}: label {array[row]} of row {row} is not in 0..{top}")
    return array, classes or tuple(str(i) for i in range(int(array.max()) + 1))


def _two_columns(name: str, array: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    if not classes and array.shape[1] == 2 and array.dtype.kind in "iu":
        return array.astype(np.int32)
    if array.shape[1] != len(classes):
        raise ValueError(
            f"{name}: labels have {array.shape[1]} columns for {len(classes)} classes"
        )
    bad = ~np.isin(array, (0, 1)).all(1)
    if bad.any():
        raise ValueError(f"{name}: multi-hot label of row {bad.argmax()} is not 0 or 1")
    return array.astype(np.float32)


def _word_ids(name: str, labels: Sequence, classes: tuple[str, ...]) -> list:
    known = {label: i for i, label in enumerate(classes)}
    found = []
    for row, words in enumerate(labels):
        if all(isinstance(word, (int, np.integer)) for word in words):
            ids = np.asarray(words, np.int32)
            if ids.size and not -100 <= ids.min() <= ids.max() < len(classes):
                raise ValueError(f"{name}: row {row}: a label is not in 0..C-1")
        else:
            ids = class_ids(f"{name}: row {row}", words, classes, known)
        found.append(ids)
    return found


def class_ids(
    name: str, texts: Sequence[str], classes: Sequence[str], known: dict | None = None
) -> np.ndarray:
    """Ids [N] of label texts; an unknown label raises with its row and the nearest."""
    known = known or {label: i for i, label in enumerate(classes)}
    for row, text in enumerate(texts):
        if str(text) not in known:
            close = ", ".join(nearest(str(text), classes))
            raise ValueError(
                f"{name}: label {text!r} of row {row} is no class; nearest: {close}"
            )
    return np.asarray([known[str(text)] for text in texts], np.int32)
