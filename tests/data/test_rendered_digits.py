"""Digits drawn by matplotlib's fonts: all ten, once, the same at every call."""

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from tl_jax.assets import Unavailable
from tl_jax.data import rendered_digits as module
from tl_jax.data.catalogue import load
from tl_jax.data.glyph_choice import looks
from tl_jax.data.glyph_render import mark
from tl_jax.data.rendered_digits import bent, rendered_digits
from tl_jax.data.splits import stratified

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def fonts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fonts")
    for file in (*FONTS.glob("DejaVu*.ttf"), *FONTS.glob("STIXGeneral*.ttf")):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def found(fonts, tmp_path_factory):
    return rendered_digits([fonts], copies=3, cache=tmp_path_factory.mktemp("cache"))


def test_every_font_draws_all_digits_apart(found):
    images, names = found.inputs["image"], np.asarray(found.inputs["font"])
    assert (images.dtype, images.shape[1:]) == (np.uint8, (28, 28, 1))
    assert found.classes == tuple("0123456789")
    assert len(np.unique(names)) > 5
    for name in np.unique(names):
        assert np.bincount(found.labels[names == name]).tolist() == [3] * 10
    assert len({mark(image[..., 0]) for image in images}) == len(images)
    assert not images[:, 0].any()  # the ink stays inside


def test_means_of_a_font_tell_digits_of_another(found):
    """Labels are the digits: else a nearest mean would be right a tenth of the time."""
    seen, names = looks(found.inputs["image"][..., 0]), np.asarray(found.inputs["font"])
    rest = names == "STIXGeneral"
    means = [seen[~rest & (found.labels == d)].mean(0) for d in range(10)]
    guess = (seen[rest] @ np.asarray(means).T).argmax(1)
    assert (guess == found.labels[rest]).mean() > 0.8


def test_groups_are_families_and_splits_keep_them_whole(found):
    families = np.asarray([name.split("-")[0] for name in found.inputs["font"]])
    for family in np.unique(families):
        assert len(np.unique(found.groups[families == family])) == 1
    assert len(np.unique(found.groups)) == len(np.unique(families))
    parts = stratified(found.labels, {"train": 0.5, "test": 0.5}, groups=found.groups)
    train, test = (set(families[rows]) for rows in parts.values())
    assert train
    assert test
    assert not train & test


def test_a_second_call_reads_and_another_cache_agrees(fonts, tmp_path, monkeypatch):
    first = rendered_digits([fonts], cache=tmp_path / "one")
    other = rendered_digits([fonts], cache=tmp_path / "two")
    monkeypatch.setattr(module, "_built", lambda *_: pytest.fail("built again"))
    again = rendered_digits([fonts], cache=tmp_path / "one")
    for one in (other, again):
        np.testing.assert_array_equal(one.inputs["image"], first.inputs["image"])
        np.testing.assert_array_equal(one.labels, first.labels)
        assert one.notes == first.notes


def test_fonts_that_look_alike_or_draw_other_things_are_left_out(fonts, tmp_path):
    """A renamed copy adds nothing; a font of one weight more does."""
    whole = rendered_digits([fonts], cache=tmp_path)
    folder = tmp_path / "more"
    shutil.copytree(fonts, folder)
    data = (folder / "DejaVuSans.ttf").read_bytes()
    (folder / "Another.ttf").write_bytes(data + b"\0")  # another file, equal digits
    (folder / "Damaged.ttf").write_bytes(b"nothing")
    again = rendered_digits([folder], cache=tmp_path)
    assert len(again.labels) == len(whole.labels)
    assert any("1 of" in note and "can't be read" in note for note in again.notes)


def test_a_bend_is_the_map_that_it_says():
    """Middle ink stays, ink at the edge moves by at most the jitter's bounds."""
    large = np.zeros((112, 112), np.uint8)
    large[54:58, 54:58] = 255
    for seed in range(20):
        rows, columns = np.nonzero(bent(large, np.random.default_rng(seed)))
        for at in (rows, columns):
            assert abs(at.mean() - 13.5) <= module.SHIFT * 28 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": 4}, "size=4"), ({"copies": 0}, "copies=0")],
)
def test_sizes_and_counts_are_checked(fonts, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        rendered_digits([fonts], cache=tmp_path, **options)


def test_folders_without_digits_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        rendered_digits([tmp_path / "missing"])
    shutil.copy(FONTS / "STIXSizFiveSymReg.ttf", tmp_path)  # brackets alone
    with pytest.raises(ValueError, match="ten distinct digits"):
        rendered_digits([tmp_path], cache=tmp_path / "cache")


def test_the_real_set_is_balanced_and_apart():
    try:
        digits = load("rendered-digits")
    except Unavailable as error:
        pytest.skip(f"offline: {error}")
    assert np.bincount(digits.labels).tolist() == [404] * 10
    marks = {mark(image[..., 0]) for image in digits.inputs["image"]}
    assert len(marks) == len(digits.labels)
    assert len(np.unique(digits.groups)) == 349
