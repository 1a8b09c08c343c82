"""Pictures on disk: read whole, damaged ones by name, fitted to one size and kept."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Endings of files that are taken for pictures."""
SPLITS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folder -> split, where the folders of classes lie in folders of splits."""
SHOWN = 5
"""So many damaged files are named in a message."""
Fit = Callable[[Any], np.ndarray]
"""A Pillow picture or uint8 [H W C] -> uint8 of the wanted shape."""


class Pictures(NamedTuple):
    """N pictures in files, decoded when they are needed."""

    files: tuple[Path, ...]
    digests: np.ndarray
    """[N] uint64, a hash of each file's bytes: equal pictures have equal ones."""
    background: tuple[int, int, int] = (255, 255, 255)
    """What shows through where a picture is transparent."""

    @property
    def rows(self) -> int:
        """N, the number of pictures."""
        return len(self.files)

    def at(self, row: int) -> Any:
        """A Pillow picture in RGB; raises ValueError for a damaged file."""
        return read_picture(self.files[row], self.background)


def colour(name: str | Sequence[int]) -> tuple[int, int, int]:
    """(red, green, blue) of a name ("white", "#f0f0f0") or of three numbers."""
    from PIL import ImageColor

    if not isinstance(name, str):
        found = tuple(int(n) for n in name)
        if len(found) == 3 and all(0 <= n <= 255 for n in found):
            return found
        raise ValueError(f"background {name!r}: expected three numbers in 0..255")
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError:
        raise ValueError(
            f"background {name!r} is no colour; such as white, black, #f0f0f0"
        ) from None


def read_picture(path: Path, background: tuple[int, int, int]) -> Any:
    """One file as a Pillow picture in RGB, upright, on the background.

    Raises ValueError naming a file that is damaged, cut short or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError:
        raise ValueError(f"{path}: no picture that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {str(error) or type(error).__name__}") from None
    if picture.mode.startswith("I") or picture.mode == "F":
        high = picture.mode.startswith("I;16")
        return Image.fromarray(_eight_bits(np.asarray(picture), high)).convert("RGB")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La"):
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*background, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _eight_bits(values: np.ndarray, high: bool) -> np.ndarray:
    """Grey levels as bytes: of 16 bits (`high`) the upper 8, others cut to 0..255."""
    if high:
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    return np.clip(values, 0, 255).astype(np.uint8)


def pictures(
    files: Iterable[Path],
    background: str | Sequence[int] = "white",
    damaged: str = "raise",
) -> tuple[Pictures, list[tuple[Path, str]]]:
    """Pictures of files, each decoded once to see that it is whole.

    Returns them and the damaged ones (file, why), which `damaged="skip"` leaves out.
    Raises ValueError that counts and names them for "raise".
    """
    if damaged not in ("raise", "skip"):
        raise ValueError(f"damaged={damaged!r}; known: raise, skip")
    ground, chosen = colour(background), list(files)

    def look(file: Path) -> tuple[int, str]:
        try:
            read_picture(file, ground)
        except ValueError as error:
            return 0, str(error)
        return int.from_bytes(_digest(file.read_bytes())[:8], "little"), ""

    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(look, chosen))
    broken = [(f, why) for f, (_, why) in zip(chosen, seen, strict=True) if why]
    if broken and damaged == "raise":
        raise ValueError(
            f"{len(broken)} of {len(chosen)} pictures are damaged: {named(broken)}; "
            "repair them, take them away, or choose to skip them"
        )
    whole = [(f, d) for f, (d, why) in zip(chosen, seen, strict=True) if not why]
    digests = np.asarray([d for _, d in whole], np.uint64)
    return Pictures(tuple(f for f, _ in whole), digests, ground), broken


def named(broken: Sequence[tuple[Path, str]]) -> str:
    """The first damaged files with what is wrong, and how many more there are."""
    shown = "; ".join(why for _, why in broken[:SHOWN])
    more = len(broken) - SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def from_image_folder(
    path: str | Path,
    *,
    background: str | Sequence[int] = "white",
    damaged: str = "raise",
    licence: str = "not stated",
) -> Examples:
    """Pictures in one folder a class: `<class>/<anything>.png`.

    With folders `train`, `val` (or `validation`) and `test` around the classes these
    are the splits. Skipped damaged files and files of other kinds are counted in
    `notes`. Raises FileNotFoundError or ValueError for what is missing or damaged.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    tops = _folders(root)
    parts = {None: root}
    if tops and all(top.name in SPLITS for top in tops):
        parts = {SPLITS[top.name]: top for top in tops}
    classes = sorted({f.name for part in parts.values() for f in _folders(part)})
    if not classes:
        raise ValueError(f"{root}: there is no folder of a class in it")
    files, labels, where, others = [], [], [], 0
    for part, folder in parts.items():
        for own in _folders(folder):
            every = sorted(p for p in own.rglob("*") if p.is_file() and _shown(p))
            found = [p for p in every if p.suffix.lower() in PICTURES]
            if not found:
                endings = ", ".join(PICTURES)
                raise ValueError(f"{own}: no file of class {own.name!r} is {endings}")
            others += len(every) - len(found)
            files += found
            labels += [classes.index(own.name)] * len(found)
            where += [part] * len(found)
    column, broken = pictures(files, background, damaged)
    bad = {file for file, _ in broken}
    kept = [i for i, file in enumerate(files) if file not in bad]
    if not kept:
        raise ValueError(f"{root}: every picture is damaged: {named(broken)}")
    notes = []
    if broken:
        notes.append(
            f"{len(broken)} of {len(files)} pictures are damaged and left out: "
            f"{named(broken)}"
        )
    if others:
        notes.append(f"{others} files are no pictures and left out")
    ids = np.asarray(labels, np.int32)[kept]
    splits = {
        part: np.flatnonzero([where[i] == part for i in kept])
        for part in parts
        if part is not None
    }
    inputs = {"image": column}
    return from_arrays(inputs, ids, classes, splits, root.name, licence, notes)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and _shown(p))


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")


def fitted(
    column: Pictures | np.ndarray,
    fit: Fit,
    shape: tuple[int, int, int],
    *,
    cache: Path | None = None,
    token: str = "",
) -> np.ndarray:
    """Every picture through `fit`: uint8 [N H W C], kept in `cache` between runs.

    `column` are files or an array uint8 [N H W C], float ones in 0..1. `token` must
    say all that `fit` does. Raises ValueError for a picture that `fit` gives another
    shape, by name.
    """
    key = hashlib.sha256(repr((tuple(shape), token)).encode())
    key.update(_content(column))
    file = None if cache is None else Path(cache) / f"{key.hexdigest()[:32]}.npy"
    rows = column.rows if isinstance(column, Pictures) else len(column)
    if file is not None and (found := _kept(file, (rows, *shape))) is not None:
        return found
    made = np.zeros((rows, *shape), np.uint8)

    def put(row: int) -> None:
        at = column.at(row) if isinstance(column, Pictures) else _bytes(column[row])
        picture = fit(at)
        if picture.shape != tuple(shape) or picture.dtype != np.uint8:
            name = column.files[row] if isinstance(column, Pictures) else f"row {row}"
            raise ValueError(
                f"{name}: fitted to {picture.dtype} {list(picture.shape)}, expected "
                f"uint8 {list(shape)}: the pipeline gives pictures no common size"
            )
        made[row] = picture

    with ThreadPoolExecutor() as pool:
        list(pool.map(put, range(rows)))
    if file is not None:
        _keep(file, made)
    return made


def _content(column: Pictures | np.ndarray) -> bytes:
    if isinstance(column, Pictures):
        return column.digests.tobytes() + bytes(column.background)
    return hashlib.sha256(np.ascontiguousarray(column)).digest()


def _bytes(row: np.ndarray) -> np.ndarray:
    """uint8 of a row; numbers in 0..1 become grey levels."""
    if row.dtype == np.uint8:
        return row
    if row.dtype.kind != "f" or row.min() < 0 or row.max() > 1:
        raise ValueError(
            f"pictures are {row.dtype} in {row.min()}..{row.max()}, expected uint8, or "
            "floats in 0..1"
        )
    return np.round(row * 255).astype(np.uint8)


def _kept(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """What was kept, if it is whole."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
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
