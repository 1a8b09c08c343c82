"""Blur, noise, textures and backgrounds: references, and what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tl_jax.data import augment
from tl_jax.tree import NoMatch

KEY = jax.random.key(5)


def floats(picture):
    return jnp.asarray(picture, jnp.float32)


def image_of(stream):
    return np.asarray(stream["inputs"]["image"])


def many(image, count=300):
    return {"inputs": {"image": jnp.broadcast_to(image, (count, *image.shape))}}


@pytest.mark.parametrize("sigma, reach", [(0.6, 2), (1.5, 5), (4.0, 4)])
def test_blur_is_scipys(sigma, reach, photo, noise):
    for picture in (photo, noise):
        got = jax.jit(augment.gaussian_blur, static_argnums=2)(
            floats(picture), sigma, reach
        )
        want = gaussian_filter(
            picture.astype(np.float64), (sigma, sigma, 0), radius=reach, mode="nearest"
        )
        np.testing.assert_allclose(got, want, atol=1e-2)


def test_a_blur_of_no_width_changes_nothing(photo):
    got = augment.gaussian_blur(floats(photo), 0.0, 4)
    np.testing.assert_allclose(got, photo, atol=1e-3)


def test_noise_has_the_deviation_that_is_asked_for():
    grey = jnp.full((60, 60, 3), 128.0)
    got = np.asarray(augment.add_noise(KEY, grey, 10.0)) - 128
    assert abs(got.mean()) < 0.5
    assert abs(got.std() - 10) < 0.3
    wild = np.asarray(augment.add_noise(KEY, grey, 500.0))
    assert (wild.min(), wild.max()) == (0, 255)


COLOURS = jnp.asarray([[10.0, 20, 30], [200, 100, 0]])


def test_checks_and_waves_are_loops():
    size, period, turn = (7, 9, 3), 2.5, 0.4
    checks = augment.checks(size, COLOURS, period, turn)
    waves = augment.waves(size, COLOURS, period, turn)
    for row, column in np.ndindex(7, 9):
        x, y = column + 0.5, row + 0.5
        across = np.cos(turn) * x + np.sin(turn) * y
        down = np.cos(turn) * y - np.sin(turn) * x
        odd = int((across // period + down // period) % 2)
        np.testing.assert_array_equal(checks[row, column], COLOURS[odd])
        share = 0.5 + 0.5 * np.sin(2 * np.pi * across / period)
        want = COLOURS[0] + share * (COLOURS[1] - COLOURS[0])
        np.testing.assert_allclose(waves[row, column], want, atol=1e-2)


def test_clouds_are_smooth_and_between_their_colours():
    got = np.asarray(augment.clouds(KEY, (32, 32, 1), jnp.asarray([[50.0], [90.0]])))
    assert got.min() >= 50
    assert got.max() <= 90
    assert got.std() > 2
    assert np.abs(np.diff(got, axis=0)).max() < 10


def test_covers_are_by_hand():
    image = jnp.asarray([[[0.0], [200.0]]])
    texture = jnp.full((1, 2, 1), 90.0)
    mask = augment.near_level(image, 0.0, 10.0)
    np.testing.assert_array_equal(mask, [[1, 0]])
    got = augment.cover(image, texture, mask)
    np.testing.assert_array_equal(got[0, :, 0], [90, 200])
    got = augment.cover(image, texture, mask, "difference")
    np.testing.assert_array_equal(got[0, :, 0], [90, 110])


def test_backgrounds_change_the_ground_alone():
    digit = jnp.zeros((8, 8, 1)).at[2:6, 3:5].set(255.0)
    got = image_of(augment.random_background()(KEY, many(digit, 40)))
    np.testing.assert_array_equal(got[:, 2:6, 3:5], 255)
    ground = got[:, np.asarray(digit[..., 0]) == 0]
    assert np.unique(ground[:, 0].round()).size > 20


def test_every_pattern_is_drawn():
    """A plain one is alike everywhere, checks have two levels, others many."""
    keys = jax.random.split(KEY, 200)
    draw = jax.jit(jax.vmap(lambda key: augment.random_pattern(key, (16, 16, 1))))
    levels = [len(np.unique(p)) for p in np.asarray(draw(keys)).round(3)]
    plain = sum(n == 1 for n in levels) / 200
    two = sum(n == 2 for n in levels) / 200
    assert 0.15 < plain < 0.35
    assert 0.15 < two < 0.35
    assert plain + two < 0.65


def test_strengths_are_drawn_up_to_the_most():
    grey = jnp.full((30, 30, 1), 128.0)
    stds = image_of(augment.random_noise(20.0)(KEY, many(grey, 200))).std((1, 2, 3))
    assert stds.min() < 1.5
    assert 17 < stds.max() < 22
    edge = jnp.zeros((9, 9, 1)).at[:, 5:].set(100.0)
    steps = image_of(augment.random_blur(2.0)(KEY, many(edge, 100)))
    heights = steps[:, 4, 5, 0] - steps[:, 4, 4, 0]
    assert heights.max() > 90
    assert heights.min() < 30
    got = image_of(augment.random_texture(0.4)(KEY, many(grey, 200)))
    assert np.abs(got - 128).max() <= 0.4 * 128 + 1e-3
    assert np.abs(got - 128).max() > 0.25 * 128


def test_settings_of_nothing_change_nothing(photo):
    nothing = augment.domain_randomisation(
        level=0.0, tolerance=0.0, share=0.0, blur=0.0, noise=0.0
    )
    bright = jnp.maximum(floats(photo), 1.0)
    got = jax.jit(nothing)(KEY, many(bright, 2))
    np.testing.assert_allclose(image_of(got)[1], bright, atol=1e-2)


def test_bad_settings_raise():
    for make, words in (
        (lambda: augment.random_noise(-1.0), "most is -1.0, expected at least 0"),
        (lambda: augment.random_blur(-1.0), "most is -1.0"),
        (lambda: augment.random_texture(2.0), r"share is 2.0, expected 0\.\.1"),
        (
            lambda: augment.random_background(300.0),
            r"level is 300.0, expected 0\.\.255",
        ),
        (lambda: augment.random_background(0.0, -1.0), "tolerance is -1.0"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    with pytest.raises(NoMatch, match="how 'differ' matches.*difference"):
        augment.random_background(how="differ")
