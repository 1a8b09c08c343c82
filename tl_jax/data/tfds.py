"""TensorFlow Datasets, read without TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.data.pictures import held
from tl_jax.data.sources import Examples, from_arrays
from tl_jax.tree import nearest

IMAGE = "image"
"""The feature that models of pictures read."""
UNLABELLED = -1
"""What stands there where a row has no class."""


def from_tfds(
    source: Any,
    splits: Sequence[str] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    label: str | None = "label",
    background: str | Sequence[int] = "white",
    licence: str = "not stated",
) -> Examples:
    """Examples of a TensorFlow Datasets builder, a data set's name or its folder.

    Read through `as_data_source`, which needs no TensorFlow. All splits, or those
    named, are concatenated and kept in `splits`; byte strings become texts. Pictures
    of one size become uint8 [N H W C]; of several sizes they stay encoded, as `Held`.
    Without `inputs`, features of no fixed shape and pictures beside `image` are left
    out, always rows without a class; `notes` say so.

    Raises ImportError where tfds is missing; ValueError for an unknown name, split or
    feature (with the nearest), a label that is none and damaged pictures;
    FileNotFoundError for data that is not prepared on disk.
    """
    builder = _builder(source) if isinstance(source, str) else source
    name, known, features = builder.name, builder.info.splits, builder.info.features
    names = list(known) if splits is None else list(splits)
    for split in names if known else ():
        _known(name, "split", split, known)
    columns, notes = _columns(name, features, inputs, label)
    wanted = [*columns, *_label(name, features, label)]
    rows, parts, bare = _read(builder, names or ["all"], wanted, label)
    if bare:
        notes.append(f"{bare} rows have no class and are left out")
    read = {
        key: _shown(name, features[key], [row[key] for row in rows], background)
        if _is_picture(features[key])
        else [_plain(row[key]) for row in rows]
        for key in wanted
    }
    licence = licence_of(builder) if licence == "not stated" else licence
    if label is None:
        return from_arrays(read, None, (), parts, name, licence, notes)
    labels = np.asarray(read.pop(label))
    classes = getattr(features[label], "names", None) or ()
    return from_arrays(read, labels, classes, parts, name, licence, notes)


def licence_of(builder: Any) -> str:
    """What the data set says of its licence."""
    return builder.info.redistribution_info.license or "not stated"


def _known(owner: str, kind: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        close = ", ".join(nearest(name, known))
        raise ValueError(f"{owner}: there is no {kind} {name!r}; nearest: {close}")


def _builder(name: str) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name!r} is of TensorFlow Datasets, which can't be imported ({error}); "
            "the extra `tfds` brings it: pip install -e '.[tfds]'"
        ) from error

    folder = Path(name).expanduser()
    if (folder / "dataset_info.json").is_file():
        return tfds.builder_from_directory(folder)
    try:
        return tfds.builder(name)
    except ValueError as error:  # its own message lists every data set there is
        close = ", ".join(
            nearest(name, tfds.list_builders(with_community_datasets=False))
        )
        reason = str(error).split("\n")[0]
        raise ValueError(f"{name!r}: {reason}; nearest: {close}") from None


def _is_picture(feature: Any) -> bool:
    from tensorflow_datasets.core.features import Image

    return isinstance(feature, Image)


def _fixed(feature: Any) -> bool:
    """True if every row has one shape."""
    return isinstance(feature.shape, tuple) and None not in feature.shape


def _columns(
    name: str,
    features: Mapping[str, Any],
    inputs: Sequence[str] | None,
    label: str | None,
) -> tuple[list[str], list[str]]:
    """Features to read, and notes on what is left out."""
    for column in inputs or ():
        _known(name, "feature", column, features)
    if inputs:
        return list(inputs), []
    pictures = [key for key in features if _is_picture(features[key])]
    if pictures and IMAGE not in pictures:
        raise ValueError(
            f"{name}: there is no feature {IMAGE!r}; pictures are in "
            f"{', '.join(pictures)}: name the one to read in `inputs`"
        )
    others = [key for key in features if key != label and key not in pictures]
    ragged = [key for key in others if not _fixed(features[key])]
    notes = []
    if ragged:
        notes.append(f"left out, as of no fixed shape: {', '.join(ragged)}")
    if len(pictures) > 1:
        beside = ", ".join(key for key in pictures if key != IMAGE)
        notes.append(f"left out, as pictures beside {IMAGE!r}: {beside}")
    kept = {IMAGE, *others} - {*ragged}
    return [key for key in features if key in kept], notes


def _label(name: str, features: Mapping[str, Any], label: str | None) -> list[str]:
    """The label's feature, which must be of one shape."""
    if label is None:
        return []
    _known(name, "feature", label, features)
    feature = features[label]
    if _is_picture(feature) or not _fixed(feature):
        close = [k for k, f in features.items() if getattr(f, "names", None)]
        fits = f"; such as {', '.join(close)}" if close else ""
        raise ValueError(
            f"{name}: feature {label!r} is {type(feature).__name__} of shape "
            f"{feature.shape}, expected a class or a number a row{fits}"
        )
    return [label]


def _bare(feature: Any, value: Any) -> bool:
    """True for the class of a row that has none."""
    return bool(getattr(feature, "names", None)) and np.all(value == UNLABELLED)


def _read(
    builder: Any, splits: Sequence[str], wanted: Sequence[str], label: str | None
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], int]:
    """(rows, split -> their numbers, how many had no class); pictures as files."""
    from tensorflow_datasets import decode

    features, rows, parts, bare = builder.info.features, [], {}, 0
    for split in splits:
        data, first = _data(builder, split), len(rows)
        # Given to `as_data_source`, they would make a mocked builder encode pictures.
        data.decoders = {
            key: decode.SkipDecoding() for key in features if _is_picture(features[key])
        }
        for i in range(len(data)):
            row = data[i]
            if label is not None and _bare(features[label], row[label]):
                bare += 1
            else:
                rows.append({column: row[column] for column in wanted})
        parts[split] = np.arange(first, len(rows))
    return rows, parts, bare


def _data(builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except (AssertionError, FileNotFoundError, NotImplementedError) as error:
        raise FileNotFoundError(
            f"{builder.name}: nothing to read in {builder.data_path}; run "
            "`builder.download_and_prepare(file_format='array_record')` first"
        ) from error


def _shown(name: str, feature: Any, values: list, background: Any) -> Any:
    """A column of pictures, of one channel where the feature says so."""
    if np.issubdtype(feature.np_dtype, np.floating):
        raise ValueError(
            f"{name}: pictures are {feature.np_dtype.__name__}, expected uint8"
        )
    try:
        found = held(values, background)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    grey = isinstance(found, np.ndarray) and feature.shape[-1] == 1
    return found[..., :1] if grey else found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS" and not value.ndim:
        return _plain(value.item())
    return value
