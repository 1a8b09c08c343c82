"""Amazon reviews of four kinds of goods, as counts of words: the DANN paper's files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tl_jax.data.sources import Examples, from_arrays
from tl_jax.tree import no_match

DOMAINS = ("books", "dvd", "electronics", "kitchen")
PARTS = ("train", "test")
CLASSES = ("negative", "positive")
WIDTH = 5000
"""The commonest words and pairs of words."""
SIGNS = {"-1": 0, "1": 1, "+1": 1, "-1.0": 0, "1.0": 1}


def amazon(path: str | Path, *, width: int = WIDTH) -> Examples:
    """One domain of the Amazon reviews (Blitzer et al., 2007; Chen et al., 2012).

    `FOLDER/books` is read from `FOLDER/books_train.svmlight`, the 2,000 reviews that a
    source gives with labels and a target without, and `FOLDER/books_test.svmlight`, the
    rest, which judges: the splits `train` and `test` (Ganin et al., 2016). So are
    `dvd`, `electronics` and `kitchen`. A line is `-1` or `1`, then `word:count` with
    words from 0. `features` is float32 [N width], the counts as they are.

    Raises FileNotFoundError for a missing file, `NoMatch` for another domain, and
    ValueError that names file, line and what was expected there.
    """
    path = Path(path).expanduser()
    if path.name not in DOMAINS:
        raise no_match(f"amazon:{path}: domain", path.name, DOMAINS)
    files = [path.with_name(f"{path.name}_{part}.svmlight") for part in PARTS]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"there is no file {file}; amazon:FOLDER/{path.name} reads "
                f"{files[0].name} and {files[1].name} in FOLDER"
            )
    found = [_read(file, width) for file in files]
    features = np.concatenate([counts for counts, _ in found])
    labels = np.concatenate([labels for _, labels in found])
    first = len(found[0][1])
    return from_arrays(
        {"features": features},
        labels,
        CLASSES,
        splits={"train": np.arange(first), "test": np.arange(first, len(labels))},
        name=f"amazon {path.name}",
        licence="not stated (Blitzer et al., 2007)",
    )


def _read(file: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts [N width] and labels [N] of a file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    parts = [line.partition("#")[0].split() for line in lines]
    rows = [(number, part) for number, part in enumerate(parts, start=1) if part]
    if not rows:
        raise ValueError(f"{file}: there is no line in it")
    counts = np.zeros((len(rows), width), np.float32)
    labels = np.zeros(len(rows), np.int32)
    for row, (number, (label, *pairs)) in enumerate(rows):
        at = f"{file}, line {number}"
        if label not in SIGNS:
            raise ValueError(f"{at}: label {label!r}, expected -1 or 1")
        labels[row] = SIGNS[label]
        for word, count in _pairs(pairs, at, width):
            counts[row, word] = count
    return counts, labels


def _pairs(pairs: list[str], at: str, width: int) -> Iterator[tuple[int, float]]:
    """(word, count) of a line, checked: words rise, counts are finite."""
    last = -1
    for pair in pairs:
        word, _, count = pair.partition(":")
        try:
            index, value = int(word), float(count)
        except ValueError:
            raise ValueError(f"{at}: {pair!r}, expected `word:count`") from None
        if not 0 <= index < width:
            hint = ", counted from 0" if index == width else ""
            raise ValueError(f"{at}: word {index}, expected 0..{width - 1}{hint}")
        if index <= last:
            raise ValueError(f"{at}: word {index} after {last}, expected them to rise")
        if not np.isfinite(value):
            raise ValueError(f"{at}: {pair!r}, expected a finite count")
        last = index
        yield index, value
