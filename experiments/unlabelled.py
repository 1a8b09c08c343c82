"""Texts and pictures without labels, read for prediction."""

from pathlib import Path

from ml_collections import ConfigDict

from experiments.sources import columns_of
from tl_jax import data
from tl_jax.data.tables import read_rows
from tl_jax.tree import nearest

READS = (".txt", ".csv", ".tsv", ".jsonl")
QUESTION = ("question", "context")


def read_texts(path: Path, config: ConfigDict) -> data.Examples:
    """The examples of a file, as the task needs them, without labels.

    A .txt file holds a text a line; a table needs the config's text column, a table of
    questions `question` and `context`; words come as a list, or a text that is cut at
    white space, and get their number as label.

    Raises FileNotFoundError or ValueError naming file, row and column.
    """
    if path.suffix not in READS:
        raise ValueError(f"{path}: the ending {path.suffix!r} is none of {READS}")
    text = columns_of(config)[0]
    columns = QUESTION if config.task == "span" else (text,)
    rows = _lines(path, columns) if path.suffix == ".txt" else read_rows(path)
    for number, row in enumerate(rows):
        for column in columns:
            if row.get(column) is None:
                close = ", ".join(nearest(column, row)) or "the row is empty"
                raise ValueError(
                    f"{path}: row {number} has no column {column!r}; nearest: {close}"
                )
    if config.task != "tokens":
        inputs = {column: [row[column] for row in rows] for column in columns}
        return data.from_arrays(inputs, name=path.stem)
    words = [_words(path, number, row[text]) for number, row in enumerate(rows)]
    places = [list(range(len(row))) for row in words]
    most = max(map(len, words))
    names = [str(number) for number in range(most)]
    return data.from_arrays({"words": words}, places, names, name=path.stem)


def read_pictures(path: Path, config: ConfigDict) -> data.Examples:
    """One picture, or all in a folder and below it, by name.

    Damaged ones are left out, and counted in `notes`, if the study did so. Raises
    FileNotFoundError or ValueError naming what is missing or damaged.
    """
    endings, own = ", ".join(data.PICTURES), config.data
    if path.is_dir():
        root, (found, _) = path, data.find_files(path)
        if not found:
            raise ValueError(f"{path}: no file in it ends in {endings}")
    elif path.is_file():
        root, found = path.parent, [path]
        if path.suffix.lower() not in data.PICTURES:
            raise ValueError(
                f"{path}: the study is of pictures, and the ending {path.suffix!r} is "
                f"none of {endings}"
            )
    else:
        raise FileNotFoundError(f"there is no file or folder {path}")
    pictures, broken = data.pictures(found, own.background, own.damaged)
    if not pictures.rows:
        raise ValueError(f"{path}: every picture is damaged: {data.named(broken)}")
    names = [file.relative_to(root).as_posix() for file in pictures.files]
    notes = []
    if broken:
        notes = [f"{len(broken)} pictures are damaged: {data.named(broken)}"]
    inputs = {"image": pictures, "file": names}
    return data.from_arrays(inputs, name=path.stem, notes=notes)


def _lines(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    if len(columns) > 1:
        raise ValueError(
            f"{path}: expected a table with the columns {' and '.join(columns)}, "
            "as .csv, .tsv or .jsonl"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason})") from None
    rows = [{columns[0]: line} for line in lines if line.strip()]
    if not rows:
        raise ValueError(f"{path}: there are no texts")
    return rows


def _words(path: Path, row: int, value: object) -> list[str]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not words:
        raise ValueError(f"{path}: row {row}: expected words, found {value!r}")
    return [str(word) for word in words]
