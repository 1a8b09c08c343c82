"""Visual domain randomisation: what a simulator leaves open is drawn for each picture.

(Tobin et al., 2017.) Shapes stay, so that labels do: what varies are surfaces, grounds,
sensors' noise and focus.
"""

import jax
import jax.numpy as jnp

from tl_jax.data.augment import texture
from tl_jax.data.augment.base import check_share, compose, per_image
from tl_jax.tree import one_of
from tl_jax.types import Array, Augment, Key

REACH = 3
"""A blur reaches this many deviations."""


def random_noise(most: float = 25.0) -> Augment:
    """Normal noise of a deviation uniform in 0..most, in levels of 0..255."""
    _check_least("most", most)

    def change(key: Key, image: Array) -> Array:
        strength, draws = jax.random.split(key)
        std = most * jax.random.uniform(strength)
        return texture.add_noise(draws, image, std)

    return per_image(change)


def random_blur(most: float = 1.5) -> Augment:
    """A Gaussian blur of a deviation uniform in 0..most pixels."""
    _check_least("most", most)
    reach = max(1, round(REACH * most))

    def change(key: Key, image: Array) -> Array:
        sigma = most * jax.random.uniform(key)
        return texture.gaussian_blur(image, sigma, reach)

    return per_image(change)


def random_texture(share: float = 0.5) -> Augment:
    """A random pattern over the whole picture, at a strength uniform in 0..share.

    Raises ValueError for a share outside 0..1.
    """
    check_share("share", share)

    def change(key: Key, image: Array) -> Array:
        pattern, strength = jax.random.split(key)
        over = random_pattern(pattern, image.shape)
        return image + share * jax.random.uniform(strength) * (over - image)

    return per_image(change)


def random_background(
    level: float = 0.0, tolerance: float = 40.0, how: str = "replace"
) -> Augment:
    """A random pattern where a picture is within `tolerance` of a level.

    What a renderer leaves empty, such as black behind a digit. `how` as in
    `texture.cover`: "difference" needs no ground to be told apart. Raises ValueError
    for a level outside 0..255 or a negative tolerance, `NoMatch` for another `how`.
    """
    if not 0 <= level <= 255:
        raise ValueError(f"level is {level}, expected 0..255")
    _check_least("tolerance", tolerance)
    one_of("how", how, texture.COVERS)

    def change(key: Key, image: Array) -> Array:
        mask = texture.near_level(image, level, tolerance)
        return texture.cover(image, random_pattern(key, image.shape), mask, how)

    return per_image(change)


def domain_randomisation(
    *,
    level: float = 0.0,
    tolerance: float = 40.0,
    how: str = "replace",
    share: float = 0.3,
    blur: float = 1.0,
    noise: float = 25.0,
) -> Augment:
    """Background, texture, blur and noise, one after another (Tobin et al., 2017).

    The arguments are those of `random_background`, `random_texture` (`share`),
    `random_blur` and `random_noise`; the scene's geometry, lights and camera are a
    simulator's to draw, or `random_resized_crop`'s and `colour_jitter`'s.
    """
    return compose(
        random_background(level, tolerance, how),
        random_texture(share),
        random_blur(blur),
        random_noise(noise),
    )


def random_pattern(key: Key, size: tuple[int, int, int]) -> Array:
    """A plain colour, checks, waves or clouds, of two random colours. -> [H W C]."""
    kind, colour, period, turn, draws = jax.random.split(key, 5)
    colours = jax.random.uniform(colour, (2, size[-1]), maxval=255.0)
    side = max(min(size[:2]), 4)
    length = jax.random.uniform(period, minval=2.0, maxval=side / 2)
    angle = jax.random.uniform(turn, maxval=jnp.pi)
    patterns = [
        lambda: jnp.broadcast_to(colours[0], size),
        lambda: texture.checks(size, colours, length, angle),
        lambda: texture.waves(size, colours, length, angle),
        lambda: texture.clouds(draws, size, colours),
    ]
    return jax.lax.switch(jax.random.randint(kind, (), 0, len(patterns)), patterns)


def _check_least(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} is {value}, expected at least 0")
