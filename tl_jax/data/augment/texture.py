"""Blur, noise, textures and backgrounds: one picture [H W C] float32 in 0..255."""

import jax
import jax.numpy as jnp

from tl_jax.tree import one_of
from tl_jax.types import Array, Key

Number = float | Array
COVERS = ("replace", "difference")


def gaussian_blur(image: Array, sigma: Number, reach: int) -> Array:
    """Weights exp(-d^2 / 2 sigma^2) over 2 reach + 1 rows and columns; edges repeat.

    A sigma of 0 changes nothing. As scipy's `gaussian_filter` of radius `reach` with
    mode "nearest"; Pillow's blur is made of boxes. [H W C].
    """
    offsets = jnp.arange(-reach, reach + 1)
    width = jnp.maximum(jnp.asarray(sigma, jnp.float32), 1e-3)
    weights = jnp.exp(-jnp.square(offsets) / (2 * jnp.square(width)))
    weights = weights / weights.sum()
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, across, _ = image.shape
    rows = sum(weights[i] * padded[i : i + height] for i in range(2 * reach + 1))
    return sum(weights[i] * rows[:, i : i + across] for i in range(2 * reach + 1))


def add_noise(key: Key, image: Array, std: Number) -> Array:
    """Normal noise on each number, cut to 0..255. [H W C]."""
    noise = jax.random.normal(key, image.shape)
    return jnp.clip(image + std * noise, 0, 255)


def checks(
    size: tuple[int, int, int], colours: Array, period: Number, turn: Number
) -> Array:
    """Squares of two colours [2 C], `period` pixels a side, turned. -> [H W C]."""
    x, y = _turned(size, turn)
    odd = jnp.mod(jnp.floor(x / period) + jnp.floor(y / period), 2)
    return jnp.where(odd[..., None] > 0, colours[1], colours[0])


def waves(
    size: tuple[int, int, int], colours: Array, period: Number, turn: Number
) -> Array:
    """Stripes that go from one colour [2 C] to the other and back. -> [H W C]."""
    x, _ = _turned(size, turn)
    share = 0.5 + 0.5 * jnp.sin(2 * jnp.pi * x / period)
    return colours[0] + share[..., None] * (colours[1] - colours[0])


def clouds(
    key: Key, size: tuple[int, int, int], colours: Array, octaves: int = 3
) -> Array:
    """Grids of 2, 4, 8, .. random values a side, each half as strong. -> [H W C].

    Value noise between two colours [2 C].
    """
    height, width, _ = size
    total, norm = jnp.zeros((height, width)), 0.0
    for i, own in enumerate(jax.random.split(key, octaves)):
        side = 2 ** (i + 1)
        coarse = jax.random.uniform(own, (side, side))
        total = total + jax.image.resize(coarse, (height, width), "linear") / 2**i
        norm += 1 / 2**i
    return colours[0] + (total / norm)[..., None] * (colours[1] - colours[0])


def cover(image: Array, texture: Array, mask: Array, how: str = "replace") -> Array:
    """A texture where a mask [H W] is 1, and the picture where it is 0. [H W C].

    "difference" is |texture - image| everywhere, which keeps strokes visible on any
    ground, as MNIST-M was made (Ganin and Lempitsky, 2015). Raises for another name.
    """
    one_of("cover", how, COVERS)
    if how == "difference":
        return jnp.abs(texture - image)
    return image + mask[..., None] * (texture - image)


def near_level(image: Array, level: Number, tolerance: Number) -> Array:
    """[H W] 1 where all channels are within `tolerance` of a level, 0 elsewhere."""
    return (jnp.abs(image - level).max(-1) <= tolerance).astype(jnp.float32)


def _turned(size: tuple[int, int, int], turn: Number) -> tuple[Array, Array]:
    """Columns and rows [H W] in axes turned by an angle."""
    y, x = jnp.meshgrid(jnp.arange(size[0]), jnp.arange(size[1]), indexing="ij")
    x, y = x + 0.5, y + 0.5
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    return cos * x + sin * y, cos * y - sin * x
