"""Augmentations of each picture alone."""

import jax
import jax.numpy as jnp

from tl_jax.data.augment import colour, geometry
from tl_jax.data.augment.base import (
    check_range,
    check_share,
    check_size,
    per_image,
    whole,
)
from tl_jax.types import Array, Augment, Key

TRIES = 10
"""Boxes drawn before a crop falls back to the middle."""


def random_box(
    key: Key,
    size: tuple[int, int],
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Array:
    """The first of ten boxes that fits into a picture, else the middle.

    Its share of the area is uniform in `scale`, its width / height log-uniform in
    `ratio`, its place uniform over whole pixels; the middle is as large as `ratio`
    allows. -> (left, top, right, bottom) [4] float32.
    """
    height, width = size
    areas, ratios, rows, columns = jax.random.uniform(key, (4, TRIES))
    (least, most), (low, high) = scale, jnp.log(jnp.asarray(ratio))
    area = height * width * (least + (most - least) * areas)
    shape = jnp.exp(low + (high - low) * ratios)
    tall = jnp.round(jnp.sqrt(area / shape)).astype(jnp.int32)
    broad = jnp.round(jnp.sqrt(area * shape)).astype(jnp.int32)
    fits = (tall > 0) & (tall <= height) & (broad > 0) & (broad <= width)
    first, found = jnp.argmax(fits), fits.any()
    top = whole(rows, height - tall + 1)[first]
    left = whole(columns, width - broad + 1)[first]
    most_tall = min(height, max(round(width / ratio[0]), 1))
    most_broad = min(width, max(round(height * ratio[1]), 1))
    tall = jnp.where(found, tall[first], most_tall)
    broad = jnp.where(found, broad[first], most_broad)
    top = jnp.where(found, top, (height - tall) // 2)
    left = jnp.where(found, left, (width - broad) // 2)
    return jnp.stack([left, top, left + broad, top + tall]).astype(jnp.float32)


def random_resized_crop(
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    method: str = "bilinear",
) -> Augment:
    """A random part of the picture at its whole size (Szegedy et al., 2015).

    The box is that of `random_box`, the filter that of `crop_resize`.
    """
    check_range("scale", scale, 1)
    check_range("ratio", ratio, None)
    geometry.check_resize(method)

    def change(key: Key, image: Array) -> Array:
        size = image.shape[:2]
        box = random_box(key, size, tuple(scale), tuple(ratio))
        return geometry.crop_resize(image, box, size, method)

    return per_image(change)


def horizontal_flip(p: float = 0.5) -> Augment:
    """Left and right exchanged with probability `p`."""
    check_share("p", p)

    def change(key: Key, image: Array) -> Array:
        return jnp.where(jax.random.bernoulli(key, p), geometry.flip(image), image)

    return per_image(change)


def random_crop(padding: int = 4, fill: float = 0.0) -> Augment:
    """A window of the picture's size anywhere in the padded picture.

    As for CIFAR (He et al., 2016).
    """
    check_size("padding", padding)

    def change(key: Key, image: Array) -> Array:
        top, left = whole(jax.random.uniform(key, (2,)), 2 * padding + 1)
        return geometry.crop_at(image, top, left, padding, fill)

    return per_image(change)


def cutout(size: int, fill: float = 127.5) -> Augment:
    """A square of `size` about a random pixel filled (DeVries and Taylor, 2017).

    There the square holds the data's mean: give it as `fill`, in 0..255.
    """
    check_size("size", size, 1)

    def change(key: Key, image: Array) -> Array:
        draws = jax.random.uniform(key, (2,))
        row, column = whole(draws, jnp.asarray(image.shape[:2]))
        return geometry.cutout_at(image, row, column, size, fill)

    return per_image(change)


def colour_jitter(
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Augment:
    """The four adjustments by random factors in random order (Chen et al., 2020).

    A strength s gives factors uniform in max(0, 1 - s)..1 + s, `hue` turns of at most
    that share of the colour circle. A strength of 0 leaves its adjustment out.
    """
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, strength in factors.items():
        if not strength >= 0:
            raise ValueError(f"{name} is {strength}, expected at least 0")
    if not 0 <= hue <= 0.5:
        raise ValueError(f"hue is {hue}, expected 0..0.5")
    steps = [
        (getattr(colour, f"adjust_{name}"), max(0.0, 1 - strength), 1 + strength)
        for name, strength in factors.items()
        if strength
    ]
    if hue:
        steps.append((colour.adjust_hue, -hue, hue))
    changes = [step[0] for step in steps]
    low, high = (jnp.asarray([step[i] for step in steps]) for i in (1, 2))

    def change(key: Key, image: Array) -> Array:
        orders, factors = jax.random.uniform(key, (2, len(steps)))
        order, factor = jnp.argsort(orders), low + (high - low) * factors
        for i in range(len(steps)):
            image = jax.lax.switch(order[i], changes, image, factor[order[i]])
        return image

    return per_image(change if steps else lambda key, image: image)
