"""Readers of sources with a structure of their own: folders, tfds, words, questions."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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


def from_tfds(
    source: Any,
    splits: Sequence[str] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    label: str | None = "label",
    licence: str = "not stated",
) -> Examples:
    """Examples of a TensorFlow Datasets builder, or of a data set's name.

    Read through `as_data_source`, which needs no TensorFlow. All splits, or those
    named, are concatenated and kept in `splits`; byte strings become texts.

    Raises for an unknown name, split or feature (with the nearest) and for data that
    is not prepared on disk.
    """
    builder = _builder(source) if isinstance(source, str) else source
    known, features = builder.info.splits, builder.info.features
    names = list(known) if splits is None else list(splits)
    for name in names if known else ():
        _known(builder.name, "split", name, known)
    columns = list(inputs) if inputs else [key for key in features if key != label]
    wanted = [*columns, *([] if label is None else [label])]
    for column in wanted:
        _known(builder.name, "feature", column, features)
    rows, parts = [], {}
    for name in names or ["all"]:
        data = _data(builder, name)
        parts[name] = np.arange(len(rows), len(rows) + len(data))
        rows += [data[i] for i in range(len(data))]
    read = {c: [_plain(row[c]) for row in rows] for c in wanted}
    if label is None:
        return from_arrays(read, None, (), parts, builder.name, licence)
    labels = np.asarray(read.pop(label))
    classes = getattr(features[label], "names", None) or ()
    return from_arrays(read, labels, classes, parts, builder.name, licence)


def _known(owner: str, kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        close = ", ".join(nearest(name, known))
        raise ValueError(f"{owner}: there is no {kind} {name!r}; nearest: {close}")


def _builder(name: str) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name)
    except ValueError as error:  # its own message lists every data set there is
        close = ", ".join(
            nearest(name, tfds.list_builders(with_community_datasets=False))
        )
        reason = str(error).split("\n")[0]
        raise ValueError(f"{name!r}: {reason}; nearest: {close}") from None


def _data(builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except (AssertionError, FileNotFoundError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"{builder.name}: nothing to read in {builder.data_path}; run "
            "`builder.download_and_prepare(file_format='array_record')` first"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS" and not value.ndim:
        return _plain(value.item())
    return value


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
