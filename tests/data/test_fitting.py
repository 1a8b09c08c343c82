"""Fitted pictures: their shape, and what is kept of them between runs."""

import numpy as np
import pytest
from PIL import Image

from tl_jax.data import fitting
from tl_jax.data.fitting import fitted
from tl_jax.data.pictures import held, pictures

SHAPE = (4, 4, 3)


class Fit:
    """Resizes to 4x4, and counts."""

    calls = 0

    def __call__(self, picture):
        self.calls += 1
        if not isinstance(picture, Image.Image):
            plain = picture[..., 0] if picture.shape[-1] == 1 else picture
            picture = Image.fromarray(plain)
        return np.asarray(picture.convert("RGB").resize((4, 4)))


@pytest.fixture
def files(tmp_path):
    """Three files of unequal shapes, the second half transparent."""
    folder = tmp_path / "files"
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (5 + i, 8, 4), np.uint8) for i in range(3)]
    for i, pixels in enumerate(made):
        pixels[..., 3] = 128 if i == 1 else 255
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_each_picture_is_fitted_in_its_place(files):
    column, _ = pictures(files)
    found = fitted(column, Fit(), SHAPE)
    assert (found.shape, found.dtype) == ((3, *SHAPE), np.uint8)
    for row in range(3):
        np.testing.assert_array_equal(found[row], Fit()(column.at(row)))


def test_a_second_call_reads_what_was_kept(files, cache):
    column, _ = pictures(files)
    fit, other = Fit(), Fit()
    first = fitted(column, fit, SHAPE, cache=cache, token="4x4")
    again = fitted(pictures(files)[0], other, SHAPE, cache=cache, token="4x4")
    assert (fit.calls, other.calls) == (3, 0)
    np.testing.assert_array_equal(first, again)
    assert len(list(cache.iterdir())) == 1


def test_what_changes_the_result_changes_the_file(files, cache):
    column, _ = pictures(files)
    calls = [
        (column, SHAPE, "a"),
        (column, SHAPE, "b"),
        (pictures(files, background="black")[0], SHAPE, "a"),
        (pictures(files[::-1])[0], SHAPE, "a"),
        (pictures(files[:2])[0], SHAPE, "a"),
    ]
    for number, (pixels, shape, token) in enumerate(calls, 1):
        fit = Fit()
        fitted(pixels, fit, shape, cache=cache, token=token)
        assert fit.calls == pixels.rows
        assert len(list(cache.iterdir())) == number


def test_arrays_of_equal_bytes_and_other_shapes_are_other_pictures(cache):
    values = np.random.default_rng(0).integers(0, 256, 2 * 16, np.uint8)
    tall, broad = values.reshape(2, 8, 2, 1), values.reshape(2, 2, 8, 1)
    first = fitted(tall, Fit(), SHAPE, cache=cache)
    assert (fitted(broad, Fit(), SHAPE, cache=cache) != first).any()
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_file_is_made_anew(damage, files, cache):
    column, _ = pictures(files)
    first = fitted(column, Fit(), SHAPE, cache=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for data in (damage, whole[:-7]):
        file.unlink()  # the first result may still read from it
        file.write_bytes(data)
        fit = Fit()
        np.testing.assert_array_equal(fitted(column, fit, SHAPE, cache=cache), first)
        assert fit.calls == 3
        assert file.read_bytes() == whole


def test_what_is_kept_has_the_wrong_shape_or_type(files, cache):
    column, _ = pictures(files)
    first = fitted(column, Fit(), SHAPE, cache=cache)
    (file,) = cache.iterdir()
    for other in (np.zeros((2, *SHAPE), np.uint8), np.zeros((3, *SHAPE), np.float32)):
        np.save(file, other)
        np.testing.assert_array_equal(fitted(column, Fit(), SHAPE, cache=cache), first)


def test_an_end_while_writing_leaves_nothing(files, cache, monkeypatch):
    column, _ = pictures(files)

    def half(file, made, **_):
        file.write_bytes(b"half")
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(fitting.np, "save", half)
        with pytest.raises(OSError, match="no space"):
            fitted(column, Fit(), SHAPE, cache=cache)
    assert list(cache.iterdir()) == []
    fitted(column, Fit(), SHAPE, cache=cache)
    assert len(list(cache.iterdir())) == 1


def test_a_shape_that_is_not_common_is_told_by_name(files):
    column, _ = pictures(files)

    def fit(picture):
        return np.asarray(picture)[:5]

    with pytest.raises(ValueError) as raised:
        fitted(column, fit, (5, 6, 3))
    assert str(raised.value).startswith(f"{files[0]}: fitted to uint8 [5, 8, 3]")
    assert "expected uint8 [5, 6, 3]" in str(raised.value)
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="row 0: fitted to float32"):
        fitted(pixels, lambda x: x.astype(np.float32), SHAPE)


def test_what_fit_refuses_is_told_by_name():
    def fit(picture):
        raise ValueError("too dark")

    with pytest.raises(ValueError, match="row 0: too dark"):
        fitted(np.zeros((1, 4, 4, 3), np.uint8), fit, SHAPE)


def test_arrays_of_bytes_and_of_floats_give_the_same():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    as_they_are = fitted(pixels, lambda x: x, SHAPE)
    np.testing.assert_array_equal(as_they_are, pixels)
    for dtype in (np.float32, np.float64):
        floats = (pixels / 255).astype(dtype)
        np.testing.assert_array_equal(fitted(floats, lambda x: x, SHAPE), pixels)


@pytest.mark.parametrize(
    "value, dtype", [(2.0, "f4"), (-0.1, "f4"), (np.nan, "f4"), (3, "i4")]
)
def test_numbers_that_are_no_grey_levels(value, dtype):
    pixels = np.zeros((2, 4, 4, 3), dtype)
    pixels[1, 0, 0, 0] = value
    said = "row 0: int32" if dtype == "i4" else "row 1: float32"
    with pytest.raises(ValueError, match=f"{said} in .*expected uint8, or floats"):
        fitted(pixels, lambda x: x, SHAPE)


def test_pictures_in_memory(cache):
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 256, (5 + i, 6, 3), np.uint8) for i in range(2)]
    column, fit, other = held(values), Fit(), Fit()
    found = fitted(column, fit, SHAPE, cache=cache)
    for row, pixels in enumerate(values):
        np.testing.assert_array_equal(found[row], Fit()(pixels))
    again = fitted(held(values), other, SHAPE, cache=cache)
    np.testing.assert_array_equal(again, found)
    assert (fit.calls, other.calls) == (2, 0)
