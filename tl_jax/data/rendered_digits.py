"""The ten digits as several hundred fonts draw them: a third domain of digits.

Beside MNIST and UCI's digits, which people wrote (as synthetic digits stand beside
SVHN in Ganin et al., 2016).
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax import assets
from tl_jax.assets import Report
from tl_jax.data import glyph_folder
from tl_jax.data.glyph_assets import FONTS
from tl_jax.data.glyph_choice import ALIKE, looks
from tl_jax.data.glyph_fonts import File, Font, font_files, read_fonts
from tl_jax.data.glyph_render import MARGIN, PIXELS, draw, mark
from tl_jax.data.sources import Examples, from_arrays

log = logging.getLogger(__name__)
VERSION = 1
"""Raise it where the same settings make other pictures."""
DIGITS = tuple(map(ord, "0123456789"))
LOOK = 28
"""Fonts are compared at this size, whatever size is wanted."""
FINE = 4
"""Digits are bent so many times larger than wanted, then reduced."""
KNOWN = 6
"""A font stays if so many of its digits are nearest to the mean of their own class."""
TURN, SLANT, STRETCH, SHIFT = 8.0, 0.1, 0.08, 0.03
"""Largest jitter: degrees, shear, log of each axis' scale, share of the size."""
LARGE = {"fonts-baekmuk", "fonts-noto-core", "fonts-noto-extra"}
LARGE |= {"fonts-unfonts-core", "fonts-unfonts-extra"}
"""Packages that are large for the few designs of digits that they add."""
PACKAGES = tuple(font for font in FONTS if font.name not in LARGE)


def rendered_digits(
    folders: Iterable[str | Path],
    *,
    size: int = 28,
    copies: int = 1,
    cache: Path | None = None,
    report: Report | None = None,
) -> Examples:
    """Digits drawn by the fonts in folders, each turned, slanted and moved a little.

    `image` is uint8 [N size size 1] with ink 255 on 0, `font` the font's name; `copies`
    of each digit of a font have a jitter of their own, the same at every call. Fonts
    that draw two digits alike or pictures instead of digits are left out, as are fonts
    that look like an earlier one and equal pictures. `groups` are families of fonts,
    so that no design is on both sides of a split. The pictures are kept in `cache`
    (default `assets.cache_dir()`).

    Raises FileNotFoundError or ValueError for folders without fonts of digits and for
    what is no size or count.
    """
    if not 8 <= size <= 512:
        raise ValueError(f"size={size}, expected 8 to 512 pixels")
    if copies < 1:
        raise ValueError(f"copies={copies}, expected 1 or more of each digit")
    files = font_files(folders)
    root = (assets.cache_dir() if cache is None else Path(cache)) / "rendered_digits"
    folder = root / _name(size, copies, files)
    if not glyph_folder.is_there(folder):
        _built(folder, size, copies, files, report or log.info)
    return _read(folder)


def read_rendered_digits(*folders: Path, **options: Any) -> Examples:
    """`rendered_digits` of the fonts in unpacked Debian packages."""
    return rendered_digits(
        [folder / "usr" / "share" / "fonts" for folder in folders], **options
    )


def _name(size: int, copies: int, files: Sequence[File]) -> str:
    """A hash of the settings, the fonts and all constants that pictures depend on."""
    from PIL import features

    jitter = (TURN, SLANT, STRETCH, SHIFT, FINE)
    rest = (VERSION, LOOK, KNOWN, ALIKE, PIXELS, MARGIN, jitter)
    libraries = features.version("freetype2"), features.version("pil")
    key = repr((size, copies, rest, libraries, [file.mark for file in files]))
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _built(
    folder: Path, size: int, copies: int, files: Sequence[File], report: Report
) -> None:
    """Draw, choose and write."""
    fonts, damaged = read_fonts(files, frozenset(DIGITS))
    fonts, drawn = _drawing(fonts)
    report(f"rendered digits: {len(fonts)} of {len(files)} fonts draw the ten digits")
    if not fonts:
        raise ValueError(f"{len(files)} font files: none draws ten distinct digits")
    seen = looks(drawn.reshape(-1, LOOK, LOOK)).reshape(len(fonts), len(DIGITS), -1)
    sound = np.flatnonzero(_known(seen) >= KNOWN)
    if not len(sound):
        raise ValueError(f"{len(fonts)} fonts: none draws digits that look like most")
    kept = sound[_apart(seen[sound])]
    arrays = _pictures(fonts, kept, size, copies)
    notes = (
        f"{len(kept)} fonts of {len(np.unique(arrays['groups']))} families; left out: "
        f"{len(files) - len(fonts)} without ten distinct digits, "
        f"{len(fonts) - len(sound)} whose digits are pictures or too fanciful, "
        f"{len(sound) - len(kept)} that look like another",
        f"{len(damaged)} of {len(files)} fonts can't be read",
    )
    about = {"fonts": [font.name for font in fonts], "notes": notes}
    glyph_folder.write(folder, arrays, about)


def _pictures(
    fonts: Sequence[Font], kept: Sequence[int], size: int, copies: int
) -> dict[str, np.ndarray]:
    """`images` and of each `labels`, `fonts` and `groups`; equal ink only once."""
    families = dict.fromkeys(font.family for font in fonts)
    number_of = {family: number for number, family in enumerate(families)}
    images, rows, marks = [], [], {b""}
    for number in kept:
        family = number_of[fonts[number].family]
        for digit, picture in _bent(fonts[number], size, copies):
            if (name := mark(picture)) not in marks:
                marks.add(name)
                images.append(picture)
                rows.append((digit, number, family))
    labels, by, groups = np.asarray(rows, np.int32).T
    pixels = np.stack(images)[..., None]
    return {"images": pixels, "labels": labels, "fonts": by, "groups": groups}


def _drawing(fonts: Sequence[Font]) -> tuple[list[Font], np.ndarray]:
    """Fonts whose ten digits are ten pictures, with these: uint8 [F 10 S S]."""
    own, drawn = [], []
    for font in fonts:
        if len(font.letters) < len(DIGITS):
            continue
        pictures = list(draw(font, DIGITS, LOOK).values())
        if len({mark(picture) for picture in pictures}) == len(DIGITS):
            own.append(font)
            drawn.append(np.stack(pictures))
    shape = (-1, len(DIGITS), LOOK, LOOK)
    return own, np.asarray(drawn, np.uint8).reshape(shape)


def _known(seen: np.ndarray) -> np.ndarray:
    """How many digits of a font the means of all others tell right. [F 10 D] -> [F]."""
    count = len(seen)
    if count == 1:
        return np.asarray([seen.shape[1]])
    rest = seen.sum(0) - seen  # each without itself
    rest /= np.maximum(np.linalg.norm(rest, axis=-1, keepdims=True), 1e-6)
    guess = np.einsum("fid,fjd->fij", seen, rest).argmax(-1)
    return (guess == np.arange(seen.shape[1])).sum(1)


def _apart(seen: np.ndarray) -> list[int]:
    """The first fonts of which no two draw alike, by their mean cosine."""
    flat = seen.reshape(len(seen), -1)
    close, kept = flat @ flat.T / seen.shape[1] >= ALIKE, []
    for font in range(len(seen)):
        if not close[font, kept].any():
            kept.append(font)
    return kept


def _bent(font: Font, size: int, copies: int) -> Iterator[tuple[int, np.ndarray]]:
    """(digit, uint8 [size size]) with a jitter that font, digit and copy fix."""
    for digit, large in enumerate(draw(font, DIGITS, FINE * size).values()):
        for copy in range(copies):
            key = f"{font.name}/{digit}/{copy}".encode()
            seed = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
            yield digit, bent(large, np.random.default_rng(seed))


def bent(large: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A picture turned, slanted, stretched and moved, then reduced by `FINE`.

    uint8 [FINE*S FINE*S] -> [S S].
    """
    from PIL import Image

    angle, slant, tall, broad, *move = random.uniform(-1, 1, 6)
    turn = np.deg2rad(TURN * angle)
    rotation = np.asarray([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    scale = np.diag(np.exp(-STRETCH * np.asarray([broad, tall])))
    back = scale @ np.asarray([[1, SLANT * slant], [0, 1]]) @ rotation
    middle = np.full(2, len(large) / 2)
    offset = middle - back @ (middle + SHIFT * len(large) * np.asarray(move))
    values = (*back[0], offset[0], *back[1], offset[1])
    paper = Image.fromarray(large).transform(
        large.shape[::-1],
        Image.Transform.AFFINE,
        tuple(map(float, values)),
        Image.Resampling.BICUBIC,
    )
    return np.asarray(paper.reduce(FINE))


def _read(folder: Path) -> Examples:
    arrays, about = glyph_folder.read(folder)
    fonts = [about["fonts"][i] for i in arrays["fonts"].tolist()]
    found = from_arrays(
        {"image": arrays["images"], "font": fonts},
        arrays["labels"],
        list(map(chr, DIGITS)),
        name="rendered-digits",
        notes=about["notes"],
    )
    return found._replace(groups=arrays["groups"])
