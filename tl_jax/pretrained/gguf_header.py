"""The front of a GGUF file: metadata, and where each tensor lies.

By GGML's specification of versions 2 and 3, little-endian: `GGUF`, version, counts,
(key, type, value) of the metadata, (name, axes, type, place) of the tensors, and their
bytes behind, aligned. The library `gguf` knows the sizes of the quantised types and
undoes them; its own reader of the front makes an array of every token's bytes, and
believes any length that it reads.
"""

import mmap
import struct
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tl_jax.pretrained.errors import Damaged

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), "general.alignment"
SCALARS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?")))
SCALARS |= {10: "Q", 11: "q", 12: "d"}
"""The type's number -> how `struct` calls it."""
STRING, ARRAY = 8, 9


class Placed(NamedTuple):
    """One tensor as the front describes it."""

    shape: tuple[int, ...]
    """Rows first, the fastest axis last."""
    kind: int
    """GGML's number of the type."""
    start: int
    size: int
    """Bytes."""


class Front(NamedTuple):
    """What stands before the numbers."""

    fields: dict[str, Any]
    tensors: dict[str, Placed]


class Cursor:
    """Reads on from a place, never past the end."""

    def __init__(self, raw: mmap.mmap | bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self.at + count
        if end > len(self.raw):
            raise Damaged(f"{count} bytes at {self.at} lie beyond its end")
        found, self.at = self.raw[self.at : end], end
        return found

    def number(self, kind: str) -> Any:
        """The next number, by its name in `struct`."""
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(kind)))[0]

    def text(self) -> str:
        """The next string."""
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Any:
        """The next value of a type; a list for an array."""
        if kind == STRING:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise Damaged(f"a value has the unknown type {kind}")
        inner, count = self.number("I"), self.number("Q")
        if inner in SCALARS:
            size = struct.calcsize(SCALARS[inner])
            return list(
                struct.unpack(f"<{count}{SCALARS[inner]}", self.take(count * size))
            )
        return [self.value(inner) for _ in range(count)]


def library() -> ModuleType:
    """The library `gguf`; raises ImportError with how to get it."""
    try:
        import gguf
    except ImportError:
        raise ImportError(
            "GGUF files need the library gguf: pip install 'tl_jax[gguf]'"
        ) from None
    return gguf


def front(file: Path) -> Front:
    """Metadata and tensors of a file.

    Raises `Damaged` for another format, an unknown version, names that come twice and
    places outside of the file.
    """
    try:
        with file.open("rb") as opened:
            if not opened.read(1):
                raise Damaged("it is empty")
            raw = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return parse(raw)
    except (Damaged, UnicodeDecodeError, struct.error, OverflowError) as error:
        raise Damaged(f"{file} is damaged: {error}; get it again") from None


def parse(raw: mmap.mmap | bytes) -> Front:
    """`front` of a file's bytes."""
    cursor = Cursor(raw)
    if (found := cursor.take(4)) != MAGIC:
        raise Damaged(f"it begins with {found!r}, expected {MAGIC!r}")
    if (version := cursor.number("I")) not in VERSIONS:
        raise Damaged(f"its version is {version}, known: 2, 3 (little-endian)")
    tensors, fields = cursor.number("Q"), cursor.number("Q")
    values: dict[str, Any] = {}
    for _ in range(fields):
        key = cursor.text()
        if key in values:
            raise Damaged(f"it has the key {key!r} twice")
        values[key] = cursor.value(cursor.number("I"))
    rows = [_row(cursor) for _ in range(tensors)]
    unit = values.get(ALIGNMENT, 32)
    if not isinstance(unit, int) or unit < 1:
        raise Damaged(f"{ALIGNMENT} is {unit!r}, expected a whole number >= 1")
    begin = -(-cursor.at // unit) * unit
    placed: dict[str, Placed] = {}
    for name, shape, kind, offset in rows:
        if name in placed:
            raise Damaged(f"it has the tensor {name!r} twice")
        size = _size(name, shape, kind)
        placed[name] = Placed(shape, kind, begin + offset, size)
        if begin + offset + size > len(raw):
            raise Damaged(f"{name} ends beyond the file's {len(raw)} bytes: truncated?")
    return Front(values, placed)


def _row(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """(name, shape, type, offset) of the next tensor."""
    name, axes = cursor.text(), cursor.number("I")
    if axes > 4:
        raise Damaged(f"{name!r} has {axes} axes, expected up to 4")
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    return name, shape, cursor.number("I"), cursor.number("Q")


def _size(name: str, shape: tuple[int, ...], kind: int) -> int:
    """Bytes of a tensor; its rows are whole blocks."""
    gguf, count = library(), 1
    try:
        block, each = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        raise Damaged(f"{name} has the unknown type {kind}") from None
    for axis in shape:
        count *= axis
    if shape and shape[-1] % block:
        raise Damaged(f"{name} has rows of {shape[-1]}, expected blocks of {block}")
    return count // block * each
