"""Which letters belong to which script, and which scripts to which split."""

import sys
import unicodedata

import numpy as np

SPLITS = {
    "train": (
        *("latin", "greek", "cyrillic", "armenian", "georgian"),
        *("hebrew", "ethiopic", "hangul"),
    ),
    "validation": ("arabic", "tamil", "malayalam", "sinhala"),
    "test": (
        *("devanagari", "bengali", "gujarati", "gurmukhi", "telugu", "kannada"),
        *("thai", "lao", "khmer", "myanmar"),
    ),
}
"""Split -> scripts. Scripts with letters of one look are on one side."""
SCRIPTS = tuple(script for scripts in SPLITS.values() for script in scripts)
SPLIT_OF = {script: part for part, scripts in SPLITS.items() for script in scripts}


def letters_of(most: int) -> dict[str, list[int]]:
    """Script -> code points of its letters, up to `most`, evenly drawn from all.

    A letter has a category Lu, Ll, Lt or Lo and no decomposition: letters with
    accents, ligatures, contextual and full-width forms are left out. Unicode's names
    begin with the script.
    """
    found: dict[str, list[int]] = {script: [] for script in SCRIPTS}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) not in ("Lu", "Ll", "Lt", "Lo"):
            continue
        script = unicodedata.name(character, "").split(" ")[0].lower()
        if script in found and not unicodedata.decomposition(character):
            found[script].append(code)
    return {script: _evenly(codes, most) for script, codes in found.items()}


def _evenly(codes: list[int], most: int) -> list[int]:
    if len(codes) <= most:
        return codes
    return [codes[i] for i in np.linspace(0, len(codes) - 1, most).astype(int)]
