"""Letters drawn by matplotlib's fonts: real ones, distinct, and on one side."""

import shutil
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from tl_jax.data import (
    glyph_choice,
    glyph_fonts,
    glyph_render,
    glyph_scripts,
    glyph_set,
)
from tl_jax.data.glyph_sound import sound

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
OPTIONS = {"least": 3, "most": 4, "letters": 24}


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    """DejaVu's fonts, which draw Latin, Greek, Cyrillic, Armenian, Arabic and Lao."""
    folder = tmp_path_factory.mktemp("fonts")
    for file in FONTS.glob("DejaVu*.ttf"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(fonts, cache):
    return glyph_set.glyphs(fonts, cache=cache, **OPTIONS)


def font(fonts, name="DejaVuSans"):
    letters = frozenset(range(0x41, 0x5B)) | {0x391, 0x20, 0xE000}
    return glyph_fonts.Font(fonts / f"{name}.ttf", name, "DejaVuSans", letters)


def test_classes_are_letters_and_splits_are_scripts(found):
    images, counts = found.inputs["image"], np.bincount(found.labels)
    assert images.dtype == np.uint8
    assert images.shape == (len(found.labels), 28, 28, 1)
    assert counts.min() >= 3
    assert counts.max() <= 4
    assert set(found.splits) == {"train", "validation", "test"}
    for split, rows in found.splits.items():
        scripts = {found.classes[i].split("/")[0] for i in found.labels[rows]}
        assert scripts
        assert scripts <= set(glyph_scripts.SPLITS[split])
    assert sum(map(len, found.splits.values())) == len(found.labels)
    assert set(found.inputs["font"]) <= {file.stem for file in FONTS.iterdir()}
    sound(images, found.labels, found.splits)
    assert any("train:" in note for note in found.notes)


def test_ink_is_white_and_fills_the_middle(found):
    for image in found.inputs["image"][::7, :, :, 0]:
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        sides = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert max(sides) == 28 - 2 * 3
        for ends in (rows, columns):
            assert abs((ends[0] + ends[-1]) / 2 - 13.5) <= 0.5
        assert image[0].max() == 0
        assert image.max() >= glyph_render.FAINTEST


def test_the_second_call_reads_what_the_first_wrote(fonts, cache, found, monkeypatch):
    monkeypatch.setattr(glyph_set, "_built", lambda *_: pytest.fail("built again"))
    start = time.monotonic()
    again = glyph_set.glyphs([fonts], cache=cache, **OPTIONS)
    assert time.monotonic() - start < 2
    np.testing.assert_array_equal(again.inputs["image"], found.inputs["image"])
    assert again.classes == found.classes
    monkeypatch.undo()
    assert len(list((cache / "glyphs").iterdir())) == 1
    other = glyph_set.glyphs(fonts, cache=cache, **OPTIONS | {"letters": 8})
    assert len(other.classes) < len(found.classes)
    assert len(list((cache / "glyphs").iterdir())) == 2


def test_another_size_has_the_same_classes(fonts, cache, found):
    large = glyph_set.glyphs(fonts, cache=cache, size=84, **OPTIONS)
    assert large.inputs["image"].shape == (len(found.labels), 84, 84, 1)
    assert large.classes == found.classes
    assert large.inputs["font"] == found.inputs["font"]


def test_turned_letters_are_classes_of_the_same_split(fonts, cache, found):
    turned = glyph_set.glyphs(fonts, cache=cache, rotations=True, **OPTIONS)
    assert len(turned.classes) > 2 * len(found.classes)
    sound(turned.inputs["image"], turned.labels, turned.splits)
    quarter = [name for name in turned.classes if name.endswith("/90")]
    upright = turned.classes.index(quarter[0].removesuffix("/90"))
    rows = {
        side: np.flatnonzero(turned.labels == turned.classes.index(name))[0]
        for side, name in (("one", quarter[0]), ("two", turned.classes[upright]))
    }
    one, two = (turned.inputs["image"][row, :, :, 0] for row in rows.values())
    np.testing.assert_array_equal(one, glyph_render.centred(np.rot90(two), 28))


@pytest.mark.parametrize("shape", [(4, 6), (5, 6), (5, 7)])
def test_ink_turned_all_the_way_round_is_where_it_was(shape):
    ink = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    first = turned = glyph_render.centred(ink, 28)
    for _ in range(4):
        turned = glyph_render.centred(np.rot90(turned), 28)
    np.testing.assert_array_equal(turned, first)
    assert glyph_render.mark(np.roll(first, (2, -1), (0, 1))) == glyph_render.mark(
        first
    )
    assert glyph_render.mark(first.T) != glyph_render.mark(first)


def test_blanks_and_boxes_are_not_drawn(fonts):
    drawn = glyph_render.draw(font(fonts), [0x20, 0xE000, 0x41, 0x10FFFE], 28)
    assert list(drawn) == [0x41]


def test_letters_of_one_look_are_one_class(fonts):
    """Latin, Greek and Cyrillic A of three fonts; B on its own."""
    names = [file.stem for file in sorted(fonts.glob("DejaVuSans-*"))]
    codes = [0x41, 0x42, 0x391, 0x410]
    drawings = [glyph_render.draw(font(fonts, name), codes, 28) for name in names]
    images = np.stack([drawn[code] for drawn in drawings for code in codes])
    kinds, own = np.tile(np.arange(4), 3), np.repeat(np.arange(3), 4)
    drawn = glyph_choice.Drawn(images, kinds, own)
    chosen = glyph_choice.choose(drawn, [0, 0, 0, 0], 2, 9)
    assert chosen.members == ((0, 2, 3), (1,))
    across = glyph_choice.choose(drawn, [0, 0, 1, 2], 2, 9)
    assert across.members == ((0,), (1,))
    assert across.across == 2


def test_an_equal_drawing_is_taken_out_of_both_classes():
    """Two classes whose last drawings are one and the same."""
    images = np.zeros((6, 28, 28), np.uint8)
    for row, size in enumerate((4, 10, 20)):
        images[row, 4 : 4 + size, 4:8] = 255
        images[3 + row, 4:8, 4 : 4 + size] = 255
    images[5] = images[2]
    drawn = glyph_choice.Drawn(images, np.repeat([0, 1], 3), np.arange(6))
    chosen = glyph_choice.choose(drawn, [0, 0], 1, 9)
    assert chosen.shared == 4  # a square is a square, however it was drawn
    assert sorted(chosen.rows) == [1, 4]


def test_no_chain_makes_unlike_letters_one_class():
    """0 is like 1 and 1 like 2 in other fonts, 0 and 2 in one font are not."""
    images = np.zeros((6, 28, 28), np.uint8)
    images[[0, 1, 2, 3, 4], 4:20, 4:8] = 255
    images[5, 4:8, 4:20] = 255
    kinds, own = np.asarray([0, 1, 1, 2, 0, 2]), np.asarray([0, 0, 1, 1, 2, 2])
    groups, _ = glyph_choice._groups(glyph_choice.Drawn(images, kinds, own), [0] * 3)
    assert groups[0] != groups[2]


def test_a_leak_is_found(found):
    images, labels = np.array(found.inputs["image"]), found.labels
    splits = dict(found.splits)
    row, other = splits["train"][0], splits["test"][0]
    copied = images.copy()
    copied[other] = np.roll(images[row], 1, axis=1)
    with pytest.raises(ValueError, match=f"rows {row} and {other} have the same ink"):
        sound(copied, labels, splits)
    copied[other] = 0
    with pytest.raises(ValueError, match=f"row {other} of class .* is blank"):
        sound(copied, labels, splits)
    splits["train"] = splits["train"][1:]
    splits["test"] = np.append(splits["test"], row)
    with pytest.raises(ValueError, match="class 0 is in 'train' and in 'test'"):
        sound(images, labels, splits)


def test_families_take_turns():
    fonts = [
        glyph_fonts.Font(Path(f"{name}.ttf"), name, name.split("-")[0], frozenset())
        for name in ("A-Bold", "A-Light", "A-Thin", "B-Bold", "C")
    ]
    order = [font.family for font in glyph_fonts.in_turn(fonts)]
    assert set(order[:3]) == {"A", "B", "C"}
    assert order[-1] == "A"


def test_letters_have_no_accents_and_scripts_one_side():
    letters = glyph_scripts.letters_of(20_000)
    assert ord("A") in letters["latin"]
    assert ord("É") not in letters["latin"]
    assert len(letters["hangul"]) > 11_000
    flat = [code for codes in letters.values() for code in codes]
    assert len(flat) == len(set(flat))
    scripts = [s for part in glyph_scripts.SPLITS.values() for s in part]
    assert len(scripts) == len(set(scripts))


def test_damaged_fonts_are_told(fonts, cache, tmp_path):
    shutil.copytree(fonts, tmp_path / "fonts")
    (tmp_path / "fonts" / "broken.ttf").write_bytes(b"no font")
    found = glyph_set.glyphs(tmp_path / "fonts", cache=cache, **OPTIONS)
    assert found.notes[-1] == "1 fonts can't be read, the first: broken.ttf"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 4}, "size=4, expected 8 to 512"),
        ({"least": 9, "most": 5}, "least=9, most=5"),
        ({"letters": 0}, "letters=0"),
        ({"least": 50, "most": 50}, "draw no letter in 50 distinct ways"),
    ],
)
def test_bad_options_are_refused(options, words, fonts, cache):
    with pytest.raises(ValueError, match=words):
        glyph_set.glyphs(fonts, cache=cache, **OPTIONS | options)


def test_missing_fonts_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder of fonts"):
        glyph_set.glyphs(tmp_path / "none")
    with pytest.raises(ValueError, match=r"no file is \.ttf"):
        glyph_set.glyphs(tmp_path)
