"""Letters of many scripts as fonts draw them: a few-shot set like Omniglot.

A class is a letter, an example its drawing by a font (after Lake et al., 2015, where
people drew). Scripts of train, validation and test are disjoint.
"""

import hashlib
import logging
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tl_jax import assets
from tl_jax.assets import Report
from tl_jax.data import glyph_folder
from tl_jax.data.glyph_choice import ALIKE, Chosen, Drawn, choose
from tl_jax.data.glyph_fonts import (
    File,
    Font,
    font_files,
    read_fonts,
    system_folders,
)
from tl_jax.data.glyph_render import MARGIN, PIXELS, centred, draw
from tl_jax.data.glyph_scripts import SPLIT_OF, SPLITS, letters_of
from tl_jax.data.glyph_sound import sound
from tl_jax.data.sources import Examples, from_arrays

log = logging.getLogger(__name__)
VERSION = 3
"""Raise it where the same settings make other pictures."""
LOOK = 28
"""Drawings are compared at this size, whatever size is wanted."""
TRIES = 3
"""So many times `most` fonts are tried for a letter."""
EVERY = 5.0
"""Seconds between reports."""


class Settings(NamedTuple):
    """All that decides which pictures are made."""

    size: int = 28
    least: int = 20
    most: int = 20
    letters: int = 500
    """Letters taken of a script, evenly drawn from all."""
    rotations: bool = False


def glyphs(
    folders: str | Path | Iterable[str | Path] | None = None,
    *,
    size: int = 28,
    least: int = 20,
    most: int = 20,
    letters: int = 500,
    rotations: bool = False,
    cache: Path | None = None,
    report: Report | None = None,
) -> Examples:
    """Letters drawn by the fonts in folders, else by the system's fonts.

    `image` is uint8 [N size size 1] with ink 255 on 0, `font` the font's name. Each
    class has `least` to `most` drawings, no two alike; letters that look alike are one
    class, named by the first of them; of splits that they share, `train` keeps them.
    `splits` are disjoint in scripts, so in classes. With `rotations` a letter turned
    by 90, 180 and 270 degrees is a class as well. The first call takes minutes; then
    the pictures are in `cache` (default `assets.cache_dir()`).

    Raises FileNotFoundError or ValueError for what is missing or no size or count.
    """
    chosen = Settings(size, least, most, letters, rotations)
    _checked(chosen)
    files = font_files(_folders(folders))
    root = (assets.cache_dir() if cache is None else Path(cache)) / "glyphs"
    folder = root / _name(chosen, files)
    if not glyph_folder.is_there(folder):
        _built(folder, chosen, files, report or log.info)
    return _read(folder)


def _checked(chosen: Settings) -> None:
    if not 8 <= chosen.size <= 512:
        raise ValueError(f"size={chosen.size}, expected 8 to 512 pixels")
    if not 1 <= chosen.least <= chosen.most:
        raise ValueError(
            f"least={chosen.least}, most={chosen.most}: expected 1 <= least <= most"
        )
    if chosen.letters < 1:
        raise ValueError(f"letters={chosen.letters}, expected 1 or more a script")


def _folders(given: str | Path | Iterable[str | Path] | None) -> list[Path]:
    if given is None:
        return system_folders()
    if isinstance(given, str | Path):
        return [Path(given)]
    return [Path(folder) for folder in given]


def _name(chosen: Settings, files: Sequence[File]) -> str:
    """A hash of the settings, the fonts and all constants that pictures depend on."""
    from PIL import features

    rest = (VERSION, LOOK, TRIES, ALIKE, PIXELS, MARGIN, unicodedata.unidata_version)
    libraries = features.version("freetype2"), features.version("pil")
    key = repr((tuple(chosen), rest, libraries, SPLITS, [f.mark for f in files]))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _built(
    folder: Path, chosen: Settings, files: Sequence[File], report: Report
) -> None:
    """Draw, choose, and write the folder at once, beside and then renamed."""
    scripts = letters_of(chosen.letters)
    script_of = {code: name for name, codes in scripts.items() for code in codes}
    fonts, damaged = read_fonts(files, frozenset(script_of))
    if not fonts:
        raise ValueError(
            f"{len(files)} font files have no letter of {', '.join(scripts)}"
        )
    kinds = _kinds(script_of, chosen.rotations)
    drawn = _drawings(fonts, kinds, chosen, report)
    parts = list(SPLITS)
    sides = [parts.index(SPLIT_OF[script_of[code]]) for code, _ in kinds]
    found = choose(drawn, sides, chosen.least, chosen.most)
    if not len(found.rows):
        raise ValueError(
            f"{len(fonts)} fonts draw no letter in {chosen.least} distinct ways; "
            "give more fonts or a smaller `least`"
        )
    images = _sized(drawn, found, fonts, kinds, chosen.size)
    names = [_class_name(kinds[own[0]], script_of) for own in found.members]
    splits = _splits(found.labels, names)
    sound(images, found.labels, splits)
    about = {
        "classes": names,
        "fonts": [font.name for font in fonts],
        "splits": {part: rows.tolist() for part, rows in splits.items()},
        "notes": _notes(found, names, splits, damaged),
    }
    arrays = {
        "images": images,
        "labels": found.labels,
        "fonts": drawn.fonts[found.rows].astype(np.int32),
    }
    glyph_folder.write(folder, arrays, about)


def _kinds(script_of: dict[int, str], rotations: bool) -> list[tuple[int, int]]:
    """(code point, quarter turns) by script as `SPLITS` has them."""
    order = {script: i for i, script in enumerate(SPLIT_OF)}
    codes = sorted(script_of, key=lambda code: (order[script_of[code]], code))
    return [(code, turns) for code in codes for turns in range(4 if rotations else 1)]


def _drawings(
    fonts: Sequence[Font],
    kinds: Sequence[tuple[int, int]],
    chosen: Settings,
    report: Report,
) -> Drawn:
    """Every letter by the first fonts that draw it."""
    turned: dict[int, list[tuple[int, int]]] = {}
    for kind, (code, turns) in enumerate(kinds):
        turned.setdefault(code, []).append((kind, turns))
    enough, many, images, rows = TRIES * chosen.most, Counter(), [], []
    said = time.monotonic()
    for number, font in enumerate(fonts):
        wanted = [code for code in sorted(font.letters) if many[code] < enough]
        for code, picture in draw(font, wanted, LOOK).items():
            many[code] += 1
            for kind, turns in turned[code]:
                images.append(_turned(picture, turns))
                rows.append((kind, number))
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            report(f"glyphs: {number + 1} of {len(fonts)} fonts, {len(rows):,} drawn")
    of, by = np.asarray(rows, int).reshape(-1, 2).T
    return Drawn(np.asarray(images, np.uint8).reshape(-1, LOOK, LOOK), of, by)


def _sized(
    drawn: Drawn,
    found: Chosen,
    fonts: Sequence[Font],
    kinds: Sequence[tuple[int, int]],
    size: int,
) -> np.ndarray:
    """The chosen drawings at the wanted size. uint8 [N size size 1]"""
    if size == LOOK:
        return drawn.images[found.rows][..., None]
    made = np.zeros((len(found.rows), size, size, 1), np.uint8)
    numbers = drawn.fonts[found.rows]
    for number in np.unique(numbers):
        places = np.flatnonzero(numbers == number)
        wanted = [kinds[drawn.kinds[found.rows[place]]] for place in places]
        pictures = draw(fonts[number], sorted({code for code, _ in wanted}), size)
        for place, (code, turns) in zip(places, wanted, strict=True):
            made[place, :, :, 0] = _turned(pictures[code], turns)
    return made


def _turned(picture: np.ndarray, turns: int) -> np.ndarray:
    return centred(np.rot90(picture, turns), len(picture)) if turns else picture


def _class_name(kind: tuple[int, int], script_of: dict[int, str]) -> str:
    code, turns = kind
    name = f"{script_of[code]}/U+{code:04X}"
    return f"{name}/{90 * turns}" if turns else name


def _splits(labels: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    part_of = np.asarray([SPLIT_OF[name.split("/")[0]] for name in names])[labels]
    return {part: np.flatnonzero(part_of == part) for part in SPLITS}


def _notes(
    found: Chosen,
    names: Sequence[str],
    splits: dict[str, np.ndarray],
    damaged: Sequence[str],
) -> list[str]:
    """Counts by split and script, and what was left out."""
    notes = []
    for part, rows in splits.items():
        own = [names[label] for label in np.unique(found.labels[rows])]
        scripts = Counter(name.split("/")[0] for name in own)
        listed = ", ".join(f"{script} {count}" for script, count in scripts.items())
        notes.append(f"{part}: {len(own):,} classes, {len(rows):,} drawings: {listed}")
    merged = sum(len(own) - 1 for own in found.members)
    notes.append(
        f"{merged} letters that look like another are in its class; left out: "
        f"{found.across} that look like one of an earlier split, {found.scarce} of too "
        f"few distinct drawings, and {found.shared:,} drawings that two classes share"
    )
    if damaged:
        notes.append(f"{len(damaged)} fonts can't be read, the first: {damaged[0]}")
    return notes


def _read(folder: Path) -> Examples:
    arrays, about = glyph_folder.read(folder)
    fonts = [about["fonts"][i] for i in arrays["fonts"].tolist()]
    return from_arrays(
        {"image": arrays["images"], "font": fonts},
        arrays["labels"],
        about["classes"],
        about["splits"],
        "glyphs",
        notes=about["notes"],
    )
