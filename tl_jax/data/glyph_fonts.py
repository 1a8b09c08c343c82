"""Fonts in folders: which there are, of which family, and which letters they map."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
SYSTEM = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts")
SYSTEM += ("~/.fonts", "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
"""Where systems keep their fonts."""
HEAD = 4096
"""Bytes that tell font files apart: they hold the checksums of all tables."""


class File(NamedTuple):
    """A font file, before it is opened."""

    path: Path
    name: str
    """Relative to the folder that was searched."""
    mark: str
    """A hash of the head and the size."""


class Font(NamedTuple):
    """A font that can be read."""

    path: Path
    name: str
    """The file's name without its ending."""
    family: str
    """The name up to the first hyphen: weights and widths of one design share it."""
    letters: frozenset[int]
    """Code points in its character map, out of those that were asked for."""


def system_folders() -> list[Path]:
    """Those of `SYSTEM` that are there."""
    found = (Path(folder).expanduser() for folder in SYSTEM)
    return [folder for folder in found if folder.is_dir()]


def font_files(folders: Iterable[Path]) -> list[File]:
    """Every font file in the folders and below, equal files once, by name.

    Raises FileNotFoundError for a missing folder, ValueError where there is no font.
    """
    searched, found = [Path(folder).expanduser() for folder in folders], {}
    for folder in searched:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder of fonts {folder}")
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                file = File(path, path.relative_to(folder).as_posix(), _mark(path))
                found.setdefault(file.mark, file)
    if not found:
        where = ", ".join(map(str, searched)) or "no folder of fonts on this system"
        raise ValueError(f"{where}: no file is {', '.join(SUFFIXES)}")
    return sorted(found.values(), key=lambda file: (file.name, file.mark))


def _mark(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD)
    return hashlib.sha256(head + b"%d" % path.stat().st_size).hexdigest()


def read_fonts(
    files: Sequence[File], letters: frozenset[int]
) -> tuple[list[Font], list[str]]:
    """(fonts with some of the letters, names of files that are damaged).

    Only the first font of a collection is read. Pillow draws a font but does not tell
    what its character map holds; fontTools, which matplotlib requires, does.
    """
    from fontTools.ttLib import TTFont

    fonts, damaged = [], []
    for file in files:
        try:
            with TTFont(file.path, fontNumber=0, lazy=True) as opened:
                # Without names of glyphs, or their table would be read as well.
                opened.setGlyphOrder([""] * opened["maxp"].numGlyphs)
                mapped = frozenset(opened.getBestCmap() or ()) & letters
        except MemoryError:
            raise
        except Exception:  # readers of tables meet damage with errors of any kind
            damaged.append(file.name)
            continue
        if mapped:
            stem = file.path.stem
            fonts.append(Font(file.path, stem, stem.split("-")[0], mapped))
    return in_turn(fonts), damaged


def in_turn(fonts: Sequence[Font]) -> list[Font]:
    """One font of every family, then a second one of each, and so on.

    So the first fonts are as different as can be. Within a turn, and within a family,
    the order is that of a hash: any, but the same everywhere.
    """
    families: dict[str, list[Font]] = {}
    for font in sorted(fonts, key=lambda font: (_any(font.name), font.name)):
        families.setdefault(font.family, []).append(font)
    turns = [
        (turn, _any(family), font.name, font)
        for family, own in families.items()
        for turn, font in enumerate(own)
    ]
    return [font for *_, font in sorted(turns, key=lambda turn: turn[:3])]


def _any(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()
