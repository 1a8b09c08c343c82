"""One data set of Meta-Dataset: a file of records a class, and `dataset_spec.json`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.data.few_shot import split_examples as made
from tl_jax.data.pictures import WHITE, Held, digest
from tl_jax.data.sources import Examples
from tl_jax.data.tfrecords import example, records

SPEC = "dataset_spec.json"
PARTS = {"TRAIN": "train", "VALID": "validation", "TEST": "test"}


def meta_dataset(
    path: str | Path, *, most: int | None = None, check: bool = False
) -> Examples:
    """A converted data set of Meta-Dataset (Triantafillou et al., 2020).

    `<class id>.tfrecords` hold examples with `image`, an encoded picture, and `label`.
    Ids count through the classes of TRAIN, VALID and TEST, by `classes_per_split` or,
    as Omniglot's, by `superclasses_per_split`. ImageNet's spec, a graph, is not read.
    Pictures stay encoded, in memory: `most` a class bounds them. With `check` the
    records' checksums are compared, at about a second for 10 MB.

    Raises FileNotFoundError or ValueError for what is missing, damaged or unknown.
    """
    root = Path(path).expanduser()
    file = root / SPEC
    if not file.is_file():
        raise FileNotFoundError(f"{root}: there is no {SPEC}")
    spec = json.loads(file.read_text(encoding="utf-8"))
    names = spec.get("class_names", {})
    pattern = spec.get("file_pattern", "{}.tfrecords")
    values, labels, parts = [], [], []
    for part, numbers in _classes(file, spec).items():
        for number in numbers:
            name = names.get(str(number), str(number))
            own = _pictures(root / pattern.format(number), number, most, check)
            values += own
            labels += [f"{number}/{name}"] * len(own)
            parts += [part] * len(own)
    digests = np.asarray([digest(value) for value in values], np.uint64)
    column = Held(tuple(values), digests, WHITE)
    return made(spec.get("name", root.name), {"image": column}, labels, parts)


def _classes(file: Path, spec: dict[str, Any]) -> dict[str, range]:
    """Split -> ids of its classes."""
    counts = spec.get("classes_per_split")
    if counts is None and "superclasses_per_split" in spec:
        above, inside = spec["superclasses_per_split"], spec["classes_per_superclass"]
        counts, start = {}, 0
        for part in PARTS:
            end = start + int(above.get(part, 0))
            counts[part] = sum(int(inside[str(i)]) for i in range(start, end))
            start = end
    if counts is None:
        raise ValueError(
            f"{file}: neither classes_per_split nor superclasses_per_split, only "
            f"{', '.join(spec)}; specs of a graph of classes are not read"
        )
    found, start = {}, 0
    for part, split in PARTS.items():
        count = int(counts.get(part, 0))
        if count:
            found[split] = range(start, start + count)
        start += count
    return found


def _pictures(file: Path, number: int, most: int | None, check: bool) -> list[bytes]:
    """The encoded pictures of one class."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    found = []
    for row, data in enumerate(records(file, check)):
        if most is not None and row >= most:
            break
        features = example(data)
        if not features.get("image"):
            raise ValueError(f"{file}: record {row} has no feature 'image'")
        label = [int(value) for value in features.get("label", [])]
        if label != [number]:
            raise ValueError(f"{file}: record {row} has label {label}, not {number}")
        found.append(features["image"][0])
    if not found:
        raise ValueError(f"{file}: there is no record")
    return found
