"""Pixels moved as Pillow moves them.

Pillow's bytes are floors of what is computed here, or for resizing sums rounded twice:
so results differ by less than one level, and are equal where pixels are only copied.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from tl_jax.data import augment

NEAREST, BILINEAR = Image.Resampling.NEAREST, Image.Resampling.BILINEAR
FILTERS = {"nearest": NEAREST, "bilinear": BILINEAR}
SLACK = 1e-2
"""Of float32 against Pillow's float64 and fixed-point weights."""


def floats(picture):
    return jnp.asarray(picture, jnp.float32)


def within(got, wanted, levels):
    assert got.dtype == jnp.float32
    difference = np.asarray(got) - np.asarray(wanted, np.float32)
    assert np.abs(difference).max() <= levels


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(
    "box", [(0, 0, 31, 23), (3, 2, 20, 15), (1.3, 2.7, 25.1, 20.9)]
)
def test_crop_resize_is_pillows_resize_with_a_box(method, box, photo, noise):
    """Pillow rounds after columns and after rows: less than 0.5 + 0.5 times the sum
    of |weights|, which is 1 of a triangle, and up to 1.3 and 1.7 of the others."""
    bound = {"nearest": 0, "bilinear": 1, "bicubic": 1.3, "lanczos": 1.7}[method]
    resample = Image.Resampling[method.upper()]
    for picture, size in ((photo, (23, 31)), (noise, (23, 31)), (photo, (40, 9))):
        image = Image.fromarray(picture)
        wanted = image.resize(size[::-1], resample, box)
        got = augment.crop_resize(floats(picture), jnp.asarray(box), size, method)
        within(got, wanted, bound and bound + SLACK)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_moves_are_pillows_affine_transforms(method, photo):
    image = Image.fromarray(photo)
    cases = {
        (1, 0.3, 0, 0, 1, 0): augment.shear_x(floats(photo), 0.3, method, 7),
        (1, -0.09, 0, 0, 1, 0): augment.shear_x(floats(photo), -0.09, method, 7),
        (1, 0, 0, 0.27, 1, 0): augment.shear_y(floats(photo), 0.27, method, 7),
        (1, 0, -4, 0, 1, 3): augment.translate(floats(photo), 4, -3, method, 7),
        (1, 0, -3.5, 0, 1, 0.25): augment.translate(
            floats(photo), 3.5, -0.25, method, 7
        ),
    }
    for matrix, got in cases.items():
        wanted = image.transform(
            image.size,
            Image.Transform.AFFINE,
            matrix,
            FILTERS[method],
            fillcolor=(7, 7, 7),
        )
        within(got, wanted, 0 if method == "nearest" else 1 + SLACK)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("degrees", [9, -30, 77, 180])
def test_rotate_is_pillows(method, degrees, photo, noise):
    for picture in (photo, noise):
        wanted = Image.fromarray(picture).rotate(degrees, FILTERS[method])
        got = augment.rotate(floats(picture), degrees, method)
        within(got, wanted, 0 if method == "nearest" else 1 + SLACK)


def test_flip_is_pillows_and_its_own_inverse(photo):
    flipped = augment.flip(floats(photo))
    within(flipped, ImageOps.mirror(Image.fromarray(photo)), 0)
    within(augment.flip(flipped), photo, 0)


@pytest.mark.parametrize("corner", [(0, 0), (4, 4), (8, 3), (2, 7)])
def test_crop_at_is_a_crop_of_the_padded_picture(corner, photo):
    top, left = corner
    padded = ImageOps.expand(Image.fromarray(photo), 4, fill=(9, 9, 9))
    wanted = padded.crop((left, top, left + 31, top + 23))
    within(augment.crop_at(floats(photo), top, left, 4, 9), wanted, 0)


@pytest.mark.parametrize("centre, size", [((10, 12), 6), ((0, 30), 9), ((22, 3), 50)])
def test_cutout_at_is_a_rectangle_drawn(centre, size, photo):
    row, column = centre
    wanted = Image.fromarray(photo)
    top, left = row - size // 2, column - size // 2
    ImageDraw.Draw(wanted).rectangle(
        (left, top, left + size - 1, top + size - 1), fill=(5, 5, 5)
    )
    within(augment.cutout_at(floats(photo), row, column, size, 5), wanted, 0)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_parameters_that_change_nothing_change_nothing(method, photo):
    image, whole = floats(photo), jnp.asarray([0, 0, 31, 23])
    within(augment.shear_x(image, 0.0, method), photo, 0)
    within(augment.translate(image, 0, 0, method), photo, 0)
    within(augment.rotate(image, 0.0, method), photo, 0)
    within(augment.crop_resize(image, whole, (23, 31), method), photo, 1e-4)
    within(augment.crop_at(image, 4, 4, 4), photo, 0)


def test_traced_parameters_and_compiled_programs_give_the_same(photo):
    def changed(box, degrees, method):
        image = floats(photo)
        cut = augment.crop_resize(image, box, (23, 31))
        return cut, augment.rotate(image, degrees, method)

    box = jnp.asarray([1.3, 2.7, 25.1, 20.9])
    for method in ("nearest", "bilinear"):
        compiled = jax.jit(changed, static_argnums=2)(box, 9.0, method)
        for got, wanted in zip(compiled, changed(box, 9.0, method), strict=True):
            within(got, wanted, 1e-3)


def test_unknown_filters_raise_with_the_nearest(photo):
    with pytest.raises(ValueError, match="'bilinaer' .* nearest: bilinear"):
        augment.rotate(floats(photo), 9, "bilinaer")
    with pytest.raises(ValueError, match="'cubic' .* bicubic"):
        augment.crop_resize(floats(photo), jnp.zeros(4), (4, 4), "cubic")
