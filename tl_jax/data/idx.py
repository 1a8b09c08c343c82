"""The idx format of MNIST and its kin (LeCun et al., 1998)."""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

CODES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
"""Third byte of the file -> type of its numbers."""
FILE = re.compile(r"(?:(.+)[-_.])?(images|labels)[-.]idx[1-4]-ubyte(?:\.gz)?")
"""A file by its name: (which pair, which half of it)."""
SPLITS = {
    "train": "train",
    "t10k": "test",
    "test": "test",
    "val": "validation",
    "validation": "validation",
}
"""The last word of a pair's name -> split."""


class Pair(NamedTuple):
    """Two files that belong together."""

    split: str
    """Empty for a pair that stands alone."""
    images: Path
    labels: Path


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


def idx_pairs(folder: str | Path) -> list[Pair]:
    """The pairs of `[NAME-]images-idx3-ubyte[.gz]` and labels in a folder, train first.

    Empty where there is no such file. Of a file and the same one gzipped it is the
    first. Raises ValueError for half a pair, and for pairs that are no splits.
    """
    folder = Path(folder)
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir(), reverse=True):  # NAME.gz before NAME
        if path.is_file() and (match := FILE.fullmatch(path.name)):
            found.setdefault(match[1] or "", {})[match[2]] = path
    for name, halves in found.items():
        for half, other in (("images", "labels"), ("labels", "images")):
            if half not in halves:
                there = halves[other].name
                lacking = f"{name}-{half}" if name else half
                rank = 3 if half == "images" else 1
                raise ValueError(
                    f"{folder}: {there} has no {half} beside it: expected "
                    f"{lacking}-idx{rank}-ubyte or {lacking}-idx{rank}-ubyte.gz"
                )
    if len(found) == 1:
        return [Pair("", **halves) for halves in found.values()]
    pairs = [Pair(_split(folder, name, found), **found[name]) for name in found]
    return sorted(pairs, key=lambda pair: [*SPLITS.values()].index(pair.split))


def _split(folder: Path, name: str, found: Collection[str]) -> str:
    """The split that a pair's name ends with; raises where another one is it, too."""
    words = [re.split(r"[-_.]", other)[-1].lower() for other in found]
    splits = {other: SPLITS.get(w) for other, w in zip(found, words, strict=True)}
    twins = [other for other in found if splits[other] == splits[name]]
    if splits[name] is None or len(twins) > 1:
        raise ValueError(
            f"{folder}: the pairs of idx files {', '.join(sorted(map(repr, found)))} "
            f"are not one of each split; a pair's name ends with {', '.join(SPLITS)}, "
            "or it is the only one"
        )
    return splits[name]


def from_idx_folder(
    folder: str | Path, classes: Sequence[str] = (), *, licence: str = "not stated"
) -> Examples:
    """Pictures and labels of a folder as MNIST and its kin are published.

    `train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz` and the same of `t10k`
    are the splits train and test; a pair alone has none. Raises FileNotFoundError
    without such files, else as `idx_pairs` and `from_idx` do.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    pairs = idx_pairs(folder)
    if not pairs:
        raise FileNotFoundError(
            f"{folder}: expected train-images-idx3-ubyte or the like, gzipped or not"
        )
    parts = [from_idx(pair.images, pair.labels, classes) for pair in pairs]
    shapes = {part.inputs["image"].shape[1:] for part in parts}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(str(list(shape)) for shape in shapes))
        raise ValueError(f"{folder}: pictures of different sizes: {sizes}")
    pixels = np.concatenate([part.inputs["image"] for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    ends = np.cumsum([0, *(len(part.labels) for part in parts)])
    splits = {
        pair.split: np.arange(ends[i], ends[i + 1])
        for i, pair in enumerate(pairs)
        if pair.split
    }
    name = folder.resolve().name
    return from_arrays({"image": pixels}, labels, classes, splits, name, licence)
