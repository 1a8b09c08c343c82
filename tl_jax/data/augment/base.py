"""What all augmentations share: pictures of a stream, keys of examples, order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tl_jax.tree import no_match, stable_key
from tl_jax.types import Array, Augment, Key, Stream


def pictures(stream: Stream) -> Array:
    """`inputs["image"]` as float32 [B H W C] in 0..255.

    Raises if there is none, or for another shape or dtype than [B H W C] of uint8 or
    floats.
    """
    inputs = stream["inputs"]
    if "image" not in inputs:
        raise no_match("input", "image", inputs)
    image = jnp.asarray(inputs["image"])
    floating = jnp.issubdtype(image.dtype, jnp.floating)
    if image.ndim != 4 or not (floating or image.dtype == jnp.uint8):
        raise ValueError(
            f"image is {image.dtype} {list(image.shape)}, expected uint8 or float32 "
            "in 0..255, [B H W C]"
        )
    return image.astype(jnp.float32)


def with_pictures(stream: Stream, image: Array) -> dict:
    """The stream with other pictures, all else as it was."""
    return {**stream, "inputs": {**stream["inputs"], "image": image}}


def per_image(change: Callable[[Key, Array], Array]) -> Augment:
    """An augmentation of each picture alone: `change(key, [H W C]) -> [H W C]`.

    The key of an example is the batch's folded with its position, so that a batch gives
    the same pictures however it is placed over devices.
    """

    def apply(key: Key, stream: Stream) -> Stream:
        image = pictures(stream)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(image)))
        return with_pictures(stream, jax.vmap(change)(keys, image))

    return apply


def compose(*augments: Augment) -> Augment:
    """One augmentation after another, each with a key of its own place."""

    def apply(key: Key, stream: Stream) -> Stream:
        for i, augment in enumerate(augments):
            stream = augment(stable_key(key, str(i)), stream)
        return stream

    return apply


def whole(draw: Array, count: int | Array) -> Array:
    """Uniform draws in [0, 1) -> whole numbers in 0..count - 1, int32."""
    return jnp.floor(draw * count).astype(jnp.int32)


def check_share(name: str, value: float) -> None:
    """Raise ValueError for a `value` outside 0..1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, expected 0..1")


def check_size(name: str, value: int, least: int = 0) -> None:
    """Raise ValueError for a `value` that is no whole number of at least `least`."""
    if value != int(value) or value < least:
        raise ValueError(f"{name} is {value}, expected a whole number from {least} on")


def check_range(name: str, pair: tuple[float, float], most: float | None) -> None:
    """Raise ValueError unless `pair` is (low, high) with 0 < low <= high <= `most`."""
    low, high = pair
    if not 0 < low <= high or (most is not None and high > most):
        limit = "" if most is None else f" <= {most:g}"
        raise ValueError(f"{name} is {pair}, expected 0 < low <= high{limit}")
