"""Texts that answer texts: generated phrases, files, and what a decoder reads."""

import numpy as np
import pytest

from tl_jax import data
from tl_jax.data.phrases import german, phrases
from tl_jax.data.ragged import ragged
from tl_jax.data.sources import task


@pytest.mark.parametrize(
    "parts, wanted",
    [
        (
            ("we meet", "", "Monday", "half past", "nine"),
            "am Montag treffen wir uns um halb zehn",
        ),
        (
            ("we meet", "next", "Monday", "half past", "twelve"),
            "nächsten Montag treffen wir uns um halb eins",
        ),
        (
            ("my sister calls", "every", "Sunday", "ten to", "ten"),
            "jeden Sonntag ruft meine Schwester um zehn vor zehn an",
        ),
    ],
)
def test_german_by_hand(parts, wanted):
    assert german(*parts) == wanted


def test_phrases_are_distinct_and_meanings_are_groups():
    made = phrases()
    texts, targets = made.inputs["text"], made.inputs["target"]
    assert task(made) == "texts"
    assert len(set(texts)) == 15_120
    assert len(set(targets)) == 7_560
    meaning: dict[int, str] = {}
    for group, target in zip(made.groups.tolist(), targets, strict=True):
        assert meaning.setdefault(group, target) == target
    assert len(meaning) == 7_560
    assert phrases().inputs == made.inputs


def test_pairs_of_a_file(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("long,short\na b c,a\nd e,d\n")
    made = data.from_pairs(path, "long", "short")
    assert made.inputs == {"text": ["a b c", "d e"], "target": ["a", "d"]}
    with pytest.raises(ValueError, match="row 0 has no field 'shrt'; nearest: short"):
        data.from_pairs(path, "long", "shrt")


def test_what_a_decoder_reads_and_says():
    """An end is put where there is none; what is too long is cut."""
    rows = ragged([[5, 6, 1], [7], [2, 3, 4, 5, 6], []], 0)
    decoder, labels = data.teacher_forced(rows, 4, first=9, end=1)
    blank = -100
    wanted = [[5, 6, 1, blank], [7, 1, blank, blank], [2, 3, 4, 5]]
    np.testing.assert_array_equal(labels[:3], wanted)
    np.testing.assert_array_equal(labels[3], [1, blank, blank, blank])
    wanted = [[9, 5, 6, 1], [9, 7, 1, 0], [9, 2, 3, 4], [9, 1, 0, 0]]
    np.testing.assert_array_equal(decoder, wanted)
