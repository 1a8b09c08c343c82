"""The idx format of MNIST and its kin (LeCun et al., 1998)."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

CODES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Third byte of the file -> type of its numbers."""


def read_idx(path: str | Path) -> np.ndarray:
    """The array of an idx file, gzipped or not.

    Raises FileNotFoundError, or ValueError where the head or the length is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in CODES:
        raise ValueError(f"{path}: begins with {data[:4].hex()}, no idx file")
    rank, start = data[3], 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path}: ends within its head of {rank} dimensions")
    shape = struct.unpack(f">{rank}I", data[4:start])
    dtype = np.dtype(CODES[data[2]])
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        raise ValueError(
            f"{path}: {len(data) - start} bytes for {dtype.name} {list(shape)}, "
            f"expected {expected}"
        )
    found = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return found.astype(dtype.newbyteorder("="))


def from_idx(
    images: str | Path,
    labels: str | Path,
    classes: Sequence[str] = (),
    *,
    licence: str = "not stated",
) -> Examples:
    """Pictures [N H W] and labels [N] of two idx files.

    Raises ValueError for pictures that are no bytes, labels that are no whole numbers,
    and another number of labels.
    """
    pixels, ids = read_idx(images), read_idx(labels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(
            f"{images}: {pixels.dtype} {list(pixels.shape)}, expected uint8 [N H W]"
        )
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{labels}: {ids.dtype} {list(ids.shape)}, expected whole numbers [N]"
        )
    pixels = pixels if pixels.ndim == 4 else pixels[..., None]
    name = Path(images).stem
    return from_arrays(
        {"image": pixels}, ids.astype(np.int32), classes, name=name, licence=licence
    )
