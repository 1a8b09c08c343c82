"""Pictures fitted to the one size that a model reads, and kept between runs."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.data.pictures import Held, Pictures

Fit = Callable[[Any], np.ndarray]
"""A Pillow picture or uint8 [H W C] -> uint8 of the wanted shape."""
Column = Pictures | Held | np.ndarray


def fitted(
    column: Column,
    fit: Fit,
    shape: tuple[int, int, int],
    *,
    cache: Path | None = None,
    token: str = "",
) -> np.ndarray:
    """Every picture through `fit`: uint8 [N H W C], kept in `cache` between runs.

    `column` are pictures of any sizes or an array uint8 [N H W C], float ones in 0..1.
    `token` must say all that `fit` does. Raises ValueError, naming the picture, for
    one that `fit` refuses or gives another shape.
    """
    of_array = isinstance(column, np.ndarray)
    rows = len(column) if of_array else column.rows
    file = None if cache is None else Path(cache) / _name(column, shape, token)
    if file is not None and (found := _kept(file, (rows, *shape))) is not None:
        return found
    made = np.zeros((rows, *shape), np.uint8)

    def put(row: int) -> None:
        name = f"row {row}" if of_array else column.named(row)
        picture = column.at(row) if not of_array else _bytes(column[row], name)
        try:
            picture = fit(picture)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if picture.shape != tuple(shape) or picture.dtype != np.uint8:
            raise ValueError(
                f"{name}: fitted to {picture.dtype} {list(picture.shape)}, expected "
                f"uint8 {list(shape)}: the pipeline gives pictures no common size"
            )
        made[row] = picture

    with ThreadPoolExecutor() as pool:
        done = pool.map(put, range(rows))
        try:
            list(done)
        except ValueError:  # the rest would be for nothing
            pool.shutdown(cancel_futures=True)
            raise
    if file is not None:
        _keep(file, made)
    return made


def _name(column: Column, shape: tuple[int, int, int], token: str) -> str:
    """The file's name: a hash of the pictures and of all that is done to them."""
    key = hashlib.sha256(repr((tuple(shape), token)).encode())
    if isinstance(column, np.ndarray):
        key.update(repr((column.shape, column.dtype.str)).encode())
        key.update(np.ascontiguousarray(column))
    else:
        key.update(column.digests.tobytes() + bytes(column.background))
    return f"{key.hexdigest()[:32]}.npy"


def _bytes(picture: np.ndarray, name: str) -> np.ndarray:
    """uint8 of a picture; floats in 0..1 become grey levels."""
    if picture.dtype == np.uint8:
        return picture
    low, high = picture.min(), picture.max()
    if picture.dtype.kind != "f" or not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name}: {picture.dtype} in {low}..{high}, expected uint8, or floats in "
            "0..1"
        )
    return np.round(picture * 255).astype(np.uint8)


def _kept(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """What was kept, if it is whole."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None


def _keep(file: Path, made: np.ndarray) -> None:
    """Write beside and rename: a reader sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.stem}-{os.getpid()}.npy")
    try:
        np.save(beside, made, allow_pickle=False)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)
