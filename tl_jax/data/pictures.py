"""Pictures in files or in memory: read whole, upright, in RGB; damaged ones named."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""Endings of files that are taken for pictures."""
SHOWN = 5
"""So many damaged files are named in a message."""
SIDEWAYS = 5
"""Orientations from this one on turn height into width."""
Colour = tuple[int, int, int]
WHITE = (255, 255, 255)


class Kept(NamedTuple):
    """A picture as it is kept, before it is made RGB."""

    height: int
    width: int
    mode: str
    """As Pillow calls it: L, RGB, RGBA, P and others."""


class Pictures(NamedTuple):
    """N pictures in files, decoded when they are needed."""

    files: tuple[Path, ...]
    digests: np.ndarray
    """[N] uint64, a hash of each file's bytes: equal files have equal ones."""
    background: Colour = WHITE
    """What shows through where a picture is transparent."""

    @property
    def rows(self) -> int:
        """N, the number of pictures."""
        return len(self.files)

    def at(self, row: int) -> Any:
        """A Pillow picture in RGB; raises ValueError for a damaged file."""
        return read_picture(self.files[row], self.background)

    def kept(self, row: int) -> Kept:
        """Size and mode, read from the head of the file."""
        return _kept(self.files[row])

    def take(self, rows: Sequence[int]) -> "Pictures":
        """The pictures of some rows."""
        files = tuple(self.files[row] for row in rows)
        return self._replace(files=files, digests=self.digests[np.asarray(rows, int)])

    def named(self, row: int) -> str:
        """What a message calls this picture."""
        return str(self.files[row])


class Held(NamedTuple):
    """N pictures in memory, each of its own size."""

    values: tuple[bytes | np.ndarray, ...]
    """The bytes of a file, or uint8 [H W], [H W 1], [H W 3] or [H W 4]."""
    digests: np.ndarray
    """[N] uint64, a hash of each value."""
    background: Colour = WHITE
    """What shows through where a picture is transparent."""

    @property
    def rows(self) -> int:
        """N, the number of pictures."""
        return len(self.values)

    def at(self, row: int) -> Any:
        """A Pillow picture in RGB; raises ValueError for damaged bytes."""
        return _of_value(self.values[row], self.named(row), self.background)

    def kept(self, row: int) -> Kept:
        """Size and mode, read from the head of the file."""
        value = self.values[row]
        return _kept(io.BytesIO(value)) if isinstance(value, bytes) else kept_in(value)

    def take(self, rows: Sequence[int]) -> "Held":
        """The pictures of some rows."""
        values = tuple(self.values[row] for row in rows)
        return self._replace(values=values, digests=self.digests[np.asarray(rows, int)])

    def named(self, row: int) -> str:
        """What a message calls this picture."""
        return f"row {row}"


def kept_in(pixels: np.ndarray) -> Kept:
    """Size and mode of an array [H W] or [H W C]."""
    many = pixels.shape[2] if pixels.ndim == 3 else 1
    return Kept(*pixels.shape[:2], {1: "L", 3: "RGB", 4: "RGBA"}[many])


def _kept(source: Path | io.BytesIO) -> Kept:
    from PIL import ExifTags, Image

    with Image.open(source) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= SIDEWAYS
        broad, tall = reversed(opened.size) if turned else opened.size
        return Kept(tall, broad, opened.mode)


def colour(name: str | Sequence[int]) -> Colour:
    """(red, green, blue) of a name ("white", "#f0f0f0") or of three numbers."""
    from PIL import ImageColor

    if isinstance(name, str):
        try:
            return ImageColor.getrgb(name)[:3]
        except ValueError:
            raise ValueError(
                f"background {name!r} is no colour; such as white, black, #f0f0f0"
            ) from None
    found = tuple(name) if isinstance(name, Sequence) else ()
    whole = all(isinstance(n, (int, np.integer)) and 0 <= n <= 255 for n in found)
    if len(found) != 3 or not whole:
        raise ValueError(
            f"background {name!r}: expected a name or three whole numbers in 0..255"
        )
    return tuple(int(n) for n in found)


def read_picture(path: Path, background: Colour = WHITE) -> Any:
    """One file as a Pillow picture in RGB, upright, on the background.

    Of a moving picture it is the first frame. Raises ValueError naming a file that is
    damaged, cut short or no picture.
    """
    return _on_ground(_decoded(path, str(path)), background)


def _of_value(value: bytes | np.ndarray, name: str, background: Colour) -> Any:
    """A picture in memory in RGB."""
    from PIL import Image

    if isinstance(value, bytes):
        return _on_ground(_decoded(io.BytesIO(value), name), background)
    plain = value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value
    return _on_ground(Image.fromarray(plain), background)


def _decoded(source: Any, name: str) -> Any:
    """A whole picture, upright, in the mode that it was kept in."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source) as opened:
            opened.load()
            return ImageOps.exif_transpose(opened)
    except UnidentifiedImageError:
        raise ValueError(f"{name}: no picture that can be read") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders meet damage with errors of any kind
        raise ValueError(f"{name}: {str(error) or type(error).__name__}") from None


def _on_ground(picture: Any, background: Colour) -> Any:
    """RGB, the background where it shows through."""
    from PIL import Image

    clear = picture.info.get("transparency")
    if picture.mode[0] in "IF":  # whole numbers of 16 or 32 bits, or floats
        values = np.asarray(picture)
        picture = Image.fromarray(_eight_bits(values, picture.mode.startswith("I;16")))
        if isinstance(clear, int):
            shown = np.where(values == clear, 0, 255).astype(np.uint8)
            picture.putalpha(Image.fromarray(shown))
    if picture.has_transparency_data:
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
        return digest(file.read_bytes()), ""

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


def held(
    values: Sequence[bytes | np.ndarray],
    background: str | Sequence[int] = "white",
) -> np.ndarray | Held:
    """Pictures in memory: an array uint8 [N H W C] where all have one shape.

    Bytes of files are decoded once to see that they are whole. Raises ValueError
    naming the row of what is damaged or no picture.
    """
    ground, shapes, marks = colour(background), set(), []
    for row, value in enumerate(values):
        encoded = isinstance(value, bytes)
        if not encoded and not _is_picture(value):
            raise ValueError(
                f"row {row}: {value.dtype} {list(value.shape)}, expected uint8 [H W C] "
                "with 1, 3 or 4 channels"
            )
        picture = _of_value(value, f"row {row}", ground) if encoded else value
        shapes.add((picture.height, picture.width, 3) if encoded else value.shape)
        marks.append(digest(value if encoded else _content(value)))
    found = Held(tuple(values), np.asarray(marks, np.uint64), ground)
    if len(shapes) > 1:
        return found
    arrays = [
        np.asarray(found.at(row)) if _needs_reading(value) else value
        for row, value in enumerate(values)
    ]
    return np.stack([a[..., None] if a.ndim == 2 else a for a in arrays])


def _needs_reading(value: bytes | np.ndarray) -> bool:
    """True of a file's bytes, and of what may be transparent."""
    return isinstance(value, bytes) or (value.ndim == 3 and value.shape[2] == 4)


def _is_picture(value: np.ndarray) -> bool:
    shown = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))
    return value.dtype == np.uint8 and shown and value.size > 0


def _content(value: np.ndarray) -> bytes:
    """Bytes that differ where the shape does, too."""
    return repr(value.shape).encode() + value.tobytes()


def digest(data: bytes) -> int:
    """64 bits of a hash."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def named(broken: Sequence[tuple[Path, str]]) -> str:
    """The first damaged files with what is wrong, and how many more there are."""
    shown = "; ".join(why for _, why in broken[:SHOWN])
    more = len(broken) - SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown


def find_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """(pictures, other files) in a folder and below it, by name; no hidden ones."""
    every = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    found = [path for path in every if path.suffix.lower() in PICTURES]
    return found, [path for path in every if path.suffix.lower() not in PICTURES]
