"""RandAugment: a few operations of fourteen, all of one magnitude."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tl_jax.data.augment import colour, geometry
from tl_jax.data.augment.base import check_size, per_image, whole
from tl_jax.types import Array, Augment, Key

OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "colour", "contrast", "sharpness"),
    *("posterize", "solarize", "autocontrast", "equalize"),
)
"""In the order of their numbers; the first six move pixels, the others change them."""
MOVES = 6
WIDEST = 150 / 331
"""The largest translation, as a share of the picture's side."""


def rand_augment(
    layers: int = 2,
    magnitude: int = 9,
    *,
    bins: int = 31,
    method: str = "nearest",
    fill: float = 0.0,
) -> Augment:
    """`layers` operations drawn for each picture, one after another.

    Of the fourteen in `OPERATIONS` (Cubuk et al., 2020), at `magnitude` of
    0..bins - 1. `method` and `fill` are of the operations that move pixels.
    """
    check_size("layers", layers)
    check_size("bins", bins, 2)
    if magnitude not in range(bins):
        raise ValueError(
            f"magnitude is {magnitude}, expected a whole number in 0..{bins - 1}"
        )
    geometry.check_warp(method)
    share = magnitude / (bins - 1)

    def change(key: Key, image: Array) -> Array:
        kinds, signs = jax.random.uniform(key, (2, layers))
        kinds, signs = whole(kinds, len(OPERATIONS)), jnp.where(signs < 0.5, -1.0, 1.0)
        for i in range(layers):
            image = operate(image, kinds[i], signs[i], share, method, fill)
        return image

    return per_image(change)


def operate(
    image: Array,
    kind: int | Array,
    sign: float | Array,
    share: float,
    method: str = "nearest",
    fill: float = 0.0,
) -> Array:
    """One operation by its number in `OPERATIONS`. [H W C].

    `share` in 0..1 is the magnitude, `sign` its direction where it has one. Under
    `vmap` all branches are computed; all moves share one warp.
    """
    move, change = moves(image.shape, share), changes(share)
    matrix = jax.lax.switch(jnp.where(kind < MOVES, kind, 0), move, sign)
    image = geometry.affine(image, matrix, method, fill)
    number = jnp.where(kind < MOVES, 0, kind - MOVES + 1)
    return jax.lax.switch(number, change, image, sign)


def moves(shape: tuple[int, ...], share: float) -> list[Callable[[Array], Array]]:
    """sign -> matrix, of the operations that move pixels."""
    height, width = shape[:2]
    right, down = (int(share * WIDEST * side) for side in (width, height))
    return [
        lambda sign: geometry.translate_matrix(0 * sign, 0),
        lambda sign: geometry.shear_x_matrix(0.3 * share * sign),
        lambda sign: geometry.shear_y_matrix(0.3 * share * sign),
        lambda sign: geometry.translate_matrix(right * sign, 0),
        lambda sign: geometry.translate_matrix(0, down * sign),
        lambda sign: geometry.rotate_matrix(30 * share * sign, height, width),
    ]


def changes(share: float) -> list[Callable[[Array, Array], Array]]:
    """(image, sign) -> image: nothing, then the operations that change levels."""
    part = 0.9 * share
    return [
        lambda image, sign: image,
        lambda image, sign: colour.adjust_brightness(image, 1 + part * sign),
        lambda image, sign: colour.adjust_saturation(image, 1 + part * sign),
        lambda image, sign: colour.adjust_contrast(image, 1 + part * sign),
        lambda image, sign: colour.sharpness(image, 1 + part * sign),
        lambda image, sign: colour.posterize(image, 8 - round(4 * share)),
        lambda image, sign: colour.solarize(image, 255 * (1 - share)),
        lambda image, sign: colour.autocontrast(image),
        lambda image, sign: colour.equalize(image),
    ]
