"""Pictures in one folder a class, with or without folders of splits around them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_jax.data.pictures import PICTURES, find_files, named, pictures
from tl_jax.data.sources import Examples, from_arrays

SPLITS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folder -> split, where the folders of classes lie in folders of splits."""


class _Listed(NamedTuple):
    """What lies in the folders, before a picture is opened."""

    files: list[Path]
    labels: list[str]
    splits: list[str]
    """Of each file; empty where there are no splits."""
    others: int
    """Files of other kinds."""
    loose: int
    """Pictures in no class's folder."""


def from_image_folder(
    path: str | Path,
    *,
    background: str | Sequence[int] = "white",
    damaged: str = "raise",
    licence: str = "not stated",
) -> Examples:
    """Pictures in one folder a class: `<class>/<anything>.png`.

    With folders `train`, `val` (or `validation`) and `test` around the classes these
    are the splits. Skipped damaged files, files of other kinds, pictures in no class
    and classes that a split lacks are counted in `notes`; hidden files are not seen.

    Raises FileNotFoundError or ValueError for what is missing or damaged.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    found = _listed(root)
    classes = sorted(set(found.labels))
    column, broken = pictures(found.files, background, damaged)
    if not column.rows:
        raise ValueError(f"{root}: every picture is damaged: {named(broken)}")
    bad = {file for file, _ in broken}
    kept = [i for i, file in enumerate(found.files) if file not in bad]
    labels = [found.labels[i] for i in kept]
    where = np.asarray([found.splits[i] for i in kept] if found.splits else [])
    splits = {part: np.flatnonzero(where == part) for part in dict.fromkeys(where)}
    notes = _notes(found, broken) + [
        f"{part} has no picture of {', '.join(lacking)}"
        for part, rows in splits.items()
        if (lacking := sorted({*classes} - {labels[row] for row in rows}))
    ]
    name = root.resolve().name
    return from_arrays({"image": column}, labels, classes, splits, name, licence, notes)


def _notes(found: _Listed, broken: list[tuple[Path, str]]) -> list[str]:
    notes = []
    if broken:
        notes.append(
            f"{len(broken)} of {len(found.files)} pictures are damaged and left out: "
            f"{named(broken)}"
        )
    if found.others:
        notes.append(f"{found.others} files are no pictures and left out")
    if found.loose:
        notes.append(f"{found.loose} pictures are in no class's folder and left out")
    return notes


def _listed(root: Path) -> _Listed:
    parts = _parts(root)
    listed = _Listed([], [], [], 0, 0)
    for split, folder in parts:
        for own in _folders(folder):
            files, others = find_files(own)
            if not files:
                endings = ", ".join(PICTURES)
                raise ValueError(f"{own}: no file of class {own.name!r} is {endings}")
            listed.files.extend(files)
            listed.labels.extend([own.name] * len(files))
            listed.splits.extend([split] * len(files) if split else [])
            listed = listed._replace(others=listed.others + len(others))
    if not listed.files:
        raise ValueError(f"{root}: there is no folder of a class in it")
    loose = len(find_files(root)[0]) - len(listed.files)
    return listed._replace(loose=loose)


def _parts(root: Path) -> list[tuple[str, Path]]:
    """(split, its folder), or the root as ("", root) where there are none."""
    tops = _folders(root)
    split = [top for top in tops if top.name.lower() in SPLITS]
    if split and len(split) < len(tops) and any(_folders(top) for top in split):
        rest = ", ".join(top.name for top in tops if top not in split)
        raise ValueError(
            f"{root}: {', '.join(top.name for top in split)} look like splits, "
            f"but there is {rest} beside them; known splits: {', '.join(SPLITS)}"
        )
    if not split or len(split) < len(tops):
        return [("", root)]
    parts = [(SPLITS[top.name.lower()], top) for top in split]
    names = [name for name, _ in parts]
    for name, top in parts:
        if names.count(name) > 1:
            raise ValueError(f"{root}: {top.name} is the split {name!r} a second time")
    return parts


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
