"""Letters drawn by a font: cropped to the ink, fitted to one size, in the middle."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tl_jax.data.glyph_fonts import Font

PIXELS = 96
"""Height of an em when drawn, before it is fitted."""
LARGEST = 8 * PIXELS
"""A drawing larger than this is no letter."""
MARGIN = 8
"""The ink leaves 1 / MARGIN of the size free on each side."""
FAINTEST = 128
"""A drawing whose strongest ink is below this is blank."""
NOWHERE = 0x10FFFF
"""A code point that no character has: fonts draw their box for missing letters."""


def draw(font: Font, letters: Sequence[int], size: int) -> dict[int, np.ndarray]:
    """The letters that the font really draws: uint8 [size size], ink 255 on 0.

    Left out are blanks and what looks like the font's drawing of a missing letter. A
    font that can't be drawn draws none.
    """
    from PIL import ImageFont

    try:
        face = ImageFont.truetype(font.path, PIXELS, layout_engine=_plain())
    except (OSError, ValueError):
        return {}
    missing = None if NOWHERE in font.letters else _drawn(face, NOWHERE, size)
    found = {}
    for letter in letters:
        picture = _drawn(face, letter, size)
        if picture is None or (
            missing is not None and np.array_equal(picture, missing)
        ):
            continue
        found[letter] = picture
    return found


def _plain() -> Any:
    """No shaping: a letter alone, and the same on every machine."""
    from PIL import ImageFont

    return ImageFont.Layout.BASIC


def _drawn(face: Any, letter: int, size: int) -> np.ndarray | None:
    """One letter, or None where there is no ink."""
    from PIL import Image, ImageDraw

    text = chr(letter)
    try:
        left, top, right, bottom = face.getbbox(text)
        broad, tall = int(right - left) + 2, int(bottom - top) + 2
        if not (2 < broad <= LARGEST and 2 < tall <= LARGEST):
            return None
        paper = Image.new("L", (broad, tall))
        ImageDraw.Draw(paper).text((1 - left, 1 - top), text, fill=255, font=face)
    except (OSError, ValueError):  # an outline that FreeType refuses
        return None
    ink = paper.getbbox()
    return None if ink is None else fit(paper.crop(ink), size)


def fit(ink: Any, size: int) -> np.ndarray | None:
    """Cropped ink (a Pillow picture in L) in the middle of uint8 [size size].

    The longer side always takes the same length, so that a dot is as large as a
    letter, and `o` as large as `O`.
    """
    from PIL import Image

    inner = size - 2 * max(size // MARGIN, 1)
    factor = inner / max(ink.size)
    broad, tall = (max(round(side * factor), 1) for side in ink.size)
    small = np.asarray(ink.resize((broad, tall), Image.Resampling.HAMMING))
    if small.max() < FAINTEST:
        return None
    return centred(small, size)


def centred(picture: np.ndarray, size: int) -> np.ndarray:
    """The ink of a picture in the middle of uint8 [size size].

    Where it can't be exact, ink stands half a pixel high and left: turned pictures are
    centred again, so that equal ink is in equal places.
    """
    ink = _cropped(picture)
    made = np.zeros((size, size), np.uint8)
    top, left = ((size - side) // 2 for side in ink.shape)
    made[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return made


def _cropped(picture: np.ndarray) -> np.ndarray:
    """The rows and columns from the first ink to the last."""
    rows, columns = np.flatnonzero(picture.any(1)), np.flatnonzero(picture.any(0))
    if not len(rows):
        return picture[:0, :0]
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def mark(picture: np.ndarray) -> bytes:
    """A hash of a picture's ink, wherever it stands in the picture."""
    ink = _cropped(picture)
    if not ink.size:
        return b""
    return hashlib.blake2b(
        repr(ink.shape).encode() + ink.tobytes(), digest_size=16
    ).digest()
