"""Grey levels changed as Pillow changes them: its bytes are the floors of ours."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tl_jax.data import augment

ENHANCERS = {
    "Brightness": augment.adjust_brightness,
    "Contrast": augment.adjust_contrast,
    "Color": augment.adjust_saturation,
    "Sharpness": augment.sharpness,
}


def floats(picture):
    return jnp.asarray(picture, jnp.float32)


def same_bytes(got, wanted, off_by=0):
    assert got.dtype == jnp.float32
    difference = np.floor(np.asarray(got)) - np.asarray(wanted, np.float32)
    assert np.abs(difference).max() <= off_by


@pytest.mark.parametrize("name", ENHANCERS)
def test_factors_are_pillows_enhancers(name, photo, noise):
    for picture in (photo, noise):
        enhancer = getattr(ImageEnhance, name)(Image.fromarray(picture))
        for factor in (0.0, 0.37, 0.7, 1.0, 1.6, 1.9):
            got = ENHANCERS[name](floats(picture), factor)
            same_bytes(got, enhancer.enhance(factor))
    np.testing.assert_array_equal(ENHANCERS[name](floats(photo), 1.0), photo)


@pytest.mark.parametrize("name", ENHANCERS)
def test_one_channel_is_pillows_mode_l(name, photo):
    picture = photo[..., 0]
    enhancer = getattr(ImageEnhance, name)(Image.fromarray(picture))
    got = ENHANCERS[name](floats(picture)[..., None], 1.6)[..., 0]
    same_bytes(got, enhancer.enhance(1.6))


def test_grey_is_pillows_l(photo, noise):
    for picture in (photo, noise):
        wanted = Image.fromarray(picture).convert("L")
        same_bytes(augment.grey(floats(picture))[..., 0], wanted)


@pytest.mark.parametrize("bits", [1, 4, 7, 8])
def test_posterize_is_pillows(bits, noise):
    wanted = ImageOps.posterize(Image.fromarray(noise), bits)
    same_bytes(augment.posterize(floats(noise), bits), wanted)


@pytest.mark.parametrize("threshold", [0, 100, 255, 256])
def test_solarize_is_pillows(threshold, noise):
    wanted = ImageOps.solarize(Image.fromarray(noise), threshold)
    same_bytes(augment.solarize(floats(noise), threshold), wanted)


def test_autocontrast_is_pillows(photo):
    """Pillow's float64 may end just below a whole level, which it then cuts."""
    for picture in (photo // 2 + 30, photo // 9 + 100, photo):
        wanted = ImageOps.autocontrast(Image.fromarray(picture))
        same_bytes(augment.autocontrast(floats(picture)), wanted, off_by=1)
    flat = np.full((5, 6, 3), 77, np.uint8)
    same_bytes(augment.autocontrast(floats(flat)), flat)


def test_equalize_is_pillows(photo, noise):
    few = (noise // 128) * 200
    dark = np.where(np.arange(31) < 29, 0, photo.transpose(2, 0, 1)).transpose(1, 2, 0)
    flat = np.full_like(photo, 77)
    for picture in (photo, noise, photo // 9, few, dark, flat):
        wanted = ImageOps.equalize(Image.fromarray(picture.astype(np.uint8)))
        same_bytes(augment.equalize(floats(picture)), wanted)


def turned(pixel, turn):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)


@pytest.mark.parametrize("turn", [0.0, 0.13, -0.4, 0.5])
def test_hue_is_that_of_colorsys(turn, noise):
    """Ties between channels, greys and black among the pixels."""
    noise = noise.copy()
    noise[:3] = [[[9, 9, 9]], [[0, 0, 0]], [[200, 200, 7]]]
    noise[3:6] = [[[200, 7, 200]], [[7, 200, 200]], [[255, 0, 0]]]
    got = augment.adjust_hue(floats(noise), turn)
    wanted = [turned(pixel, turn) for pixel in noise.reshape(-1, 3).astype(float)]
    np.testing.assert_allclose(got.reshape(-1, 3), wanted, atol=2e-3)
    if turn == 0:
        np.testing.assert_allclose(got, noise, atol=1e-3)


def test_hue_is_near_pillows(photo):
    """Pillow's hues are bytes: 255 steps of up to 6 levels, in a circle of 256."""
    for steps in (0, 13, 100):
        hues = np.array(Image.fromarray(photo).convert("HSV"))
        hues[..., 0] += np.uint8(steps)
        wanted = Image.fromarray(hues, "HSV").convert("RGB")
        got = np.asarray(augment.adjust_hue(floats(photo), steps / 255))
        difference = np.abs(got - np.asarray(wanted, np.float32))
        assert difference.max() <= 12.5
        assert difference.mean() < 2


def test_saturation_and_hue_leave_one_channel_alone(photo):
    grey = floats(photo[..., :1])
    np.testing.assert_array_equal(augment.adjust_saturation(grey, 0.3), grey)
    np.testing.assert_array_equal(augment.adjust_hue(grey, 0.3), grey)


def test_compiled_programs_give_the_same(photo):
    def changed(image):
        return (
            augment.adjust_contrast(image, 1.3),
            augment.adjust_saturation(image, 0.4),
            augment.adjust_hue(image, 0.2),
            augment.sharpness(image, 1.7),
            augment.equalize(image),
            augment.autocontrast(image),
        )

    image = floats(photo)
    for got, wanted in zip(jax.jit(changed)(image), changed(image), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_pictures_too_small_to_smooth_stay():
    for shape in ((2, 5, 3), (1, 1, 3)):
        image = jnp.full(shape, 40.0)
        np.testing.assert_array_equal(augment.sharpness(image, 0.2), image)


def test_bad_parameters_raise():
    with pytest.raises(ValueError, match="4 channels, expected 1 or 3"):
        augment.adjust_hue(jnp.zeros((2, 2, 4)), 0.1)
    with pytest.raises(ValueError, match="bits is 9"):
        augment.posterize(jnp.zeros((2, 2, 3)), 9)
