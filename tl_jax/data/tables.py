"""Tables on disk: .csv, .tsv and .jsonl, by column name."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.data.sources import Examples, class_ids, from_arrays
from tl_jax.tree import nearest


def from_table(
    path: str | Path,
    text: str | Sequence[str] = "text",
    label: str | None = "label",
    *,
    features: Sequence[str] = (),
    classes: Sequence[str] = (),
    regression: bool = False,
    licence: str = "not stated",
) -> Examples:
    """Examples of a .csv, .tsv or .jsonl file, by column name.

    One text column becomes `inputs["text"]`, several keep their names; `features`
    are numeric columns, stacked as `inputs["features"]` [N D]. A JSON list as label
    is multi-label.
    """
    path = Path(path)
    rows = read_rows(path)
    columns = [text] if isinstance(text, str) else list(text)
    if features and columns == ["text"] and "text" not in rows[0]:
        columns = []
    wanted = [*columns, *features, *([] if label is None else [label])]
    for column in wanted:
        if column not in rows[0]:
            close = ", ".join(nearest(column, rows[0]))
            raise ValueError(f"{path}: there is no column {column!r}; nearest: {close}")
    for number, row in enumerate(rows):
        missing = [column for column in wanted if row.get(column) is None]
        if missing:
            raise ValueError(f"{path}: row {number} has no value for {missing[0]!r}")
    inputs: dict[str, Any] = {c: [row[c] for row in rows] for c in columns}
    if isinstance(text, str) and columns:
        inputs = {"text": inputs[text]}
    if features:
        inputs["features"] = np.asarray(
            [
                [_number(path, i, row[f]) for f in features]
                for i, row in enumerate(rows)
            ],
            np.float32,
        )
    labels = None if label is None else [row[label] for row in rows]
    if labels is not None and regression:
        labels = np.asarray([_number(path, i, v) for i, v in enumerate(labels)])
    elif labels is not None and isinstance(labels[0], list):
        classes = classes or sorted({str(c) for row in labels for c in row})
        labels = _multi_hot(str(path), labels, classes)
    return from_arrays(inputs, labels, classes, name=path.stem, licence=licence)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .csv, .tsv or .jsonl file as dicts; ragged rows raise by number."""
    if not path.is_file():
        known = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        close = ", ".join(nearest(path.name, known)) or "the folder is empty or missing"
        raise FileNotFoundError(f"there is no file {path}; nearest: {close}")
    kinds = {".csv": ",", ".tsv": "\t", ".jsonl": None}
    if path.suffix not in kinds:
        known = ", ".join(kinds)
        raise ValueError(f"{path}: the ending {path.suffix!r} is none of {known}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            if path.suffix == ".jsonl":
                rows = list(_json_rows(path, file))
            else:
                rows = list(_delimited(path, file, kinds[path.suffix]))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({error.reason})") from None
    if not rows:
        raise ValueError(f"{path}: there are no examples")
    return rows


def _json_rows(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object")
        yield row


def _delimited(path: Path, file: Any, delimiter: str) -> Iterator[dict[str, Any]]:
    reader = csv.reader(file, delimiter=delimiter)
    before = csv.field_size_limit(2**31 - 1)  # a document may be long
    try:
        header = next(reader, [])
        for row in filter(None, reader):
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}: {len(row)} fields, "
                    f"but the header has {len(header)}"
                )
            yield dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(before)


def _number(path: Path, row: int, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: row {row}: {value!r} is no number") from None


def _multi_hot(name: str, labels: list, classes: Sequence[str]) -> np.ndarray:
    hot = np.zeros((len(labels), len(classes)), np.float32)
    for row, chosen in enumerate(labels):
        hot[row, class_ids(f"{name}: row {row}", chosen, classes)] = 1.0
    return hot
