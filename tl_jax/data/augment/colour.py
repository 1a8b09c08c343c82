"""Grey levels changed: fixed parameters, one picture [H W C] float32 in 0..255.

Pictures that are mixed in (grey, smoothed) are rounded as Pillow keeps them; results
are not, so that Pillow's bytes are their floors. Factors may be traced.
"""

import jax.numpy as jnp

from tl_jax.types import Array

Number = float | Array
LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in 2^-16 (ITU-R 601-2); exact in float32."""


def blend(first: Array, second: Array, factor: Number) -> Array:
    """first + factor (second - first), cut to 0..255; 1 gives `second`."""
    return jnp.clip(first + factor * (second - first), 0, 255)


def grey(image: Array) -> Array:
    """Luminance in whole levels. [H W 1] or [H W 3] -> [H W 1].

    Raises ValueError for another number of channels.
    """
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise ValueError(f"image has {channels} channels, expected 1 or 3")
    if channels == 1:
        return image
    total = sum(weight * image[..., i] for i, weight in enumerate(LUMA))
    return jnp.floor((total + 32768) / 65536)[..., None]


def adjust_brightness(image: Array, factor: Number) -> Array:
    """Towards black below 1, away from it above. [H W C]."""
    return blend(jnp.zeros_like(image), image, factor)


def adjust_contrast(image: Array, factor: Number) -> Array:
    """Towards the mean grey below 1, away from it above. [H W 1 or 3]."""
    return blend(jnp.floor(grey(image).mean() + 0.5), image, factor)


def adjust_saturation(image: Array, factor: Number) -> Array:
    """Towards the grey picture below 1, away from it above. [H W 1 or 3]."""
    return blend(grey(image), image, factor)


def adjust_hue(image: Array, turn: Number) -> Array:
    """Hue moved by a share of the colour circle, in HSV (Smith, 1978). [H W 1 or 3].

    In floats: a turn of 0 changes nothing, where Pillow's hues are bytes.
    """
    grey(image)  # checks the channels
    if image.shape[-1] == 1:
        return image
    red, green, blue = jnp.moveaxis(image, -1, 0)
    high, low = image.max(-1), image.min(-1)
    chroma = high - low
    safe = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        high == red,
        (green - blue) / safe,
        jnp.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixths = sixths + 6 * turn
    offsets = jnp.asarray([5.0, 3.0, 1.0])
    phase = jnp.mod(offsets + sixths[..., None], 6)
    share = jnp.clip(jnp.minimum(phase, 4 - phase), 0, 1)
    return jnp.clip(high[..., None] - chroma[..., None] * share, 0, 255)


def sharpness(image: Array, factor: Number) -> Array:
    """Towards a 3x3 smoothing below 1, away from it above; edges stay. [H W C]."""
    height, width, _ = image.shape
    rows = sum(image[i : height - 2 + i] for i in range(3))
    total = sum(rows[:, i : width - 2 + i] for i in range(3))
    inner = image[1:-1, 1:-1]
    smooth = image.at[1:-1, 1:-1].set(jnp.floor((total + 4 * inner) / 13 + 0.5))
    return blend(smooth, image, factor)


def posterize(image: Array, bits: int) -> Array:
    """Only the first `bits` of 8 kept; 8 leaves whole levels alone. [H W C].

    Raises ValueError for bits outside 0..8.
    """
    if bits not in range(9):
        raise ValueError(f"bits is {bits}, expected a whole number in 0..8")
    step = float(2 ** (8 - bits))
    return jnp.floor(image / step) * step


def solarize(image: Array, threshold: Number) -> Array:
    """Levels from the threshold on are inverted. [H W C]."""
    return jnp.where(image < threshold, image, 255 - image)


def autocontrast(image: Array) -> Array:
    """Each channel stretched to 0..255; one without contrast stays. [H W C]."""
    low, high = image.min((0, 1)), image.max((0, 1))
    varied = high > low
    scale = 255 / jnp.where(varied, high - low, 1)
    stretched = jnp.clip((image - low) * scale, 0, 255)
    return jnp.where(varied, stretched, image)


def equalize(image: Array) -> Array:
    """Each channel's levels spread evenly, as Pillow's table does. [H W C].

    Levels are rounded first; a channel without steps to spread stays as it is.
    """
    level = jnp.clip(jnp.floor(image + 0.5), 0, 255).astype(jnp.int32)
    channel = jnp.broadcast_to(jnp.arange(image.shape[-1]), level.shape)
    counts = jnp.zeros((256, image.shape[-1]), jnp.int32).at[level, channel].add(1)
    last = jnp.take_along_axis(counts, level.max((0, 1))[None], 0)[0]
    step = (counts.sum(0) - last) // 255
    before = jnp.cumsum(counts, 0) - counts
    table = (step // 2 + before) // jnp.maximum(step, 1)
    spread = jnp.clip(table, 0, 255)[level, channel].astype(jnp.float32)
    return jnp.where(step > 0, spread, image)
