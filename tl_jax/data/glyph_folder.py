"""Drawn pictures in the cache: a folder of arrays and what is known about them."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ABOUT = "about.json"
"""Written last: a folder that has it is whole."""


def is_there(folder: Path) -> bool:
    """Whether the folder was written."""
    return (folder / ABOUT).is_file()


def write(folder: Path, arrays: Mapping[str, np.ndarray], about: Mapping) -> None:
    """A reader sees the whole folder or none; of two writers the first wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".glyphs-", dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(beside / f"{name}.npy", array, allow_pickle=False)
        (beside / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        try:
            os.replace(beside, folder)
        except OSError:
            if not is_there(folder):
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays by name, about). `images` stay on the disk until they are read."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    arrays = {
        file.stem: np.load(
            file,
            mmap_mode="r" if file.stem == "images" else None,
            allow_pickle=False,
        )
        for file in sorted(folder.glob("*.npy"))
    }
    return arrays, about
