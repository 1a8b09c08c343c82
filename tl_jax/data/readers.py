"""Readers of sources with a structure of their own: folders, words, questions."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tl_jax.data.sources import Examples, from_arrays
from tl_jax.data.tables import read_rows
from tl_jax.tree import nearest

log = logging.getLogger(__name__)


def from_folder(
    path: str | Path,
    pattern: str = "*.txt",
    *,
    encodings: Sequence[str] = ("utf-8", "cp1252"),
    licence: str = "not stated",
) -> Examples:
    """Text files in one folder a class: `<class>/<anything>.txt`.

    Each file is read by the first encoding that fits; what did not fit the first is
    counted in `notes`. A class without files raises.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    if not classes:
        raise ValueError(f"{root}: there is no folder of a class in it")
    texts, labels, odd = [], [], {}
    for number, name in enumerate(classes):
        files = sorted(p for p in (root / name).glob(pattern) if p.is_file())
        if not files:
            raise ValueError(f"{root / name}: no file of class {name!r} is {pattern}")
        for file in files:
            text, encoding = _decode(file, encodings)
            if encoding != encodings[0]:
                odd[encoding] = odd.get(encoding, 0) + 1
            texts.append(text)
            labels.append(number)
    notes = [f"{n} of {len(texts)} files read as {e}" for e, n in odd.items()]
    for note in notes:
        log.info("%s: %s", root, note)
    return from_arrays(
        {"text": texts},
        np.asarray(labels, np.int32),
        classes,
        name=root.name,
        licence=licence,
        notes=notes,
    )


def _decode(file: Path, encodings: Sequence[str]) -> tuple[str, str]:
    data = file.read_bytes()
    for encoding in encodings:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise ValueError(f"{file}: the bytes fit none of {', '.join(encodings)}")


def from_tagged(
    path: str | Path,
    tokens: str = "tokens",
    labels: str = "labels",
    *,
    classes: Sequence[str] = (),
    licence: str = "not stated",
) -> Examples:
    """Words with a label each, a JSON object of two lists a line (as CoNLL's tasks).

    Label names become ids of `classes` (the sorted distinct names where not given).
    """
    path = Path(path)
    rows = read_rows(path)
    _need(path, rows, {tokens: list, labels: list})
    for number, row in enumerate(rows):
        if len(row[tokens]) != len(row[labels]) or not row[tokens]:
            raise ValueError(
                f"{path}: row {number}: {len(row[tokens])} words, "
                f"{len(row[labels])} labels"
            )
    words = [[str(word) for word in row[tokens]] for row in rows]
    tags = [row[labels] for row in rows]
    return from_arrays({"words": words}, tags, classes, name=path.stem, licence=licence)


def from_pairs(
    path: str | Path,
    text: str = "text",
    target: str = "target",
    *,
    licence: str = "not stated",
) -> Examples:
    """Texts with the texts that answer them, two columns of a .csv, .tsv or .jsonl.

    They become the columns `text` and `target`. Raises as `read_rows` does, and
    ValueError for a row without one of them.
    """
    path = Path(path)
    rows = read_rows(path)
    _need(path, rows, {text: str, target: str})
    inputs = {"text": [r[text] for r in rows], "target": [r[target] for r in rows]}
    return from_arrays(inputs, name=path.stem, licence=licence)


def from_questions(path: str | Path, *, licence: str = "not stated") -> Examples:
    """Questions answered by a span of a context, a JSON object a line (as SQuAD).

    Reads `question`, `context`, `answer_start`, `answer_text`; labels are character
    spans [N 2], the end exclusive. Raises where the text is not at its place.
    """
    path = Path(path)
    rows = read_rows(path)
    fields = {"question": str, "context": str, "answer_start": int, "answer_text": str}
    _need(path, rows, fields)
    spans = []
    for number, row in enumerate(rows):
        start, text = row["answer_start"], row["answer_text"]
        found = row["context"][start : start + len(text)] if start >= 0 else ""
        if not text or found != text:
            raise ValueError(
                f"{path}: row {number}: the context has {found!r} at {start}, "
                f"not the answer {text!r}"
            )
        spans.append((start, start + len(text)))
    inputs = {key: [row[key] for row in rows] for key in ("question", "context")}
    labels = np.asarray(spans, np.int32)
    return from_arrays(inputs, labels, name=path.stem, licence=licence)


def _need(path: Path, rows: list[dict], fields: dict[str, type]) -> None:
    for number, row in enumerate(rows):
        for field, kind in fields.items():
            if field not in row:
                close = ", ".join(nearest(field, row)) or "the row is empty"
                raise ValueError(
                    f"{path}: row {number} has no field {field!r}; nearest: {close}"
                )
            if not isinstance(row[field], kind):
                found = type(row[field]).__name__
                raise ValueError(
                    f"{path}: row {number}: {field!r} is {found}, not {kind.__name__}"
                )
