"""Edited copies of the tiny models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tl_jax.pretrained import files


@pytest.fixture
def edited(golden: Path, tmp_path: Path) -> Callable[..., Path]:
    """`edited(name, tensors=f, **config)`: f changes the dict of arrays in place."""

    def edit(name: str, tensors: Callable | None = None, **config) -> Path:
        folder = tmp_path / "edited"
        shutil.copytree(golden / "bert" / name, folder)
        arrays = {k: v.copy() for k, v in files.read(files.scan(folder))}
        if tensors is not None:
            arrays = tensors(arrays) or arrays
            files.write(arrays, folder / files.WEIGHTS)
        settings = files.read_config(folder) | config
        settings = {k: v for k, v in settings.items() if v is not ...}
        (folder / files.CONFIG).write_text(json.dumps(settings))
        return folder

    return edit
