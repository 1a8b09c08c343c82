"""Pixels moved: fixed parameters, one picture [H W C] float32 in 0..255.

Boxes are (left, top, right, bottom) and matrices (a, b, c, d, e, f), as Pillow has
them. Nothing is rounded to whole grey levels. Numbers may be traced, sizes not.
"""

import jax
import jax.numpy as jnp

from tl_jax.tree import no_match
from tl_jax.types import Array

Number = float | Array
KERNELS = {"bilinear": "linear", "bicubic": "cubic", "lanczos": "lanczos3"}
"""Pillow's filters -> the methods of `jax.image`."""
WARPS = ("nearest", "bilinear")


def check_resize(method: str) -> None:
    """Raise for a filter that `crop_resize` does not know."""
    if method not in KERNELS and method != "nearest":
        raise no_match("method", method, ("nearest", *KERNELS))


def check_warp(method: str) -> None:
    """Raise for a filter that `affine` does not know."""
    if method not in WARPS:
        raise no_match("method", method, WARPS)


def crop_resize(
    image: Array, box: Array, size: tuple[int, int], method: str = "bilinear"
) -> Array:
    """The box of a picture at another size, as Pillow's `resize(size, method, box)`.

    The filter widens where pixels are merged, and reads beyond the box, not beyond
    the picture. image [H W C], box [4], size (h, w) -> [h w C].
    """
    check_resize(method)
    left, top, right, bottom = jnp.asarray(box, jnp.float32)
    start = jnp.stack([top, left])
    length = jnp.stack([bottom, right]) - start
    if method == "nearest":
        rows, columns = (
            jnp.floor(start[i] + (jnp.arange(size[i]) + 0.5) * length[i] / size[i])
            .astype(jnp.int32)
            .clip(0, image.shape[i] - 1)
            for i in (0, 1)
        )
        return image[rows][:, columns]
    scale = jnp.asarray(size, jnp.float32) / length
    for axis in (1, 0):  # columns first, cut to 0..255 in between, as Pillow
        shape = (*image.shape[:axis], size[axis], *image.shape[axis + 1 :])
        factor, kernel = scale[axis : axis + 1], KERNELS[method]
        shift = -start[axis : axis + 1] * factor
        resized = jax.image.scale_and_translate(
            image, shape, (axis,), factor, shift, kernel
        )
        image = jnp.clip(resized, 0, 255)
    return image


def flip(image: Array) -> Array:
    """Left and right exchanged. [H W C] -> [H W C]."""
    return image[:, ::-1]


def crop_at(
    image: Array, top: Number, left: Number, padding: int, fill: float = 0.0
) -> Array:
    """A window of the picture's own size in the picture padded on all sides.

    `top` and `left` are in 0..2 padding; at `padding` nothing moves. [H W C].
    """
    widths = ((padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(image, widths, constant_values=fill)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)


def cutout_at(
    image: Array, row: Number, column: Number, size: int, fill: float = 127.5
) -> Array:
    """A square of `size` about a pixel filled, cut at the edges. [H W C]."""
    y = jnp.arange(image.shape[0]) - (row - size // 2)
    x = jnp.arange(image.shape[1]) - (column - size // 2)
    hole = ((y >= 0) & (y < size))[:, None] & ((x >= 0) & (x < size))
    return jnp.where(hole[..., None], fill, image)


def affine(
    image: Array, matrix: Array, method: str = "nearest", fill: float = 0.0
) -> Array:
    """The picture whose pixel (x, y) is the old one's (ax + by + c, dx + ey + f).

    Positions are of pixel centres; what lies outside is `fill`. As Pillow's
    `transform(size, AFFINE, matrix, method)`, "nearest" in its fixed-point numbers.
    image [H W C], matrix [6] -> [H W C].
    """
    check_warp(method)
    if method == "nearest":
        return _nearest(image, matrix, fill)
    height, width, _ = image.shape
    a, b, c, d, e, f = matrix
    y, x = (jnp.arange(n) + 0.5 for n in (height, width))
    x, y = (p * x + q * y[:, None] + r for p, q, r in ((a, b, c), (d, e, f)))
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x - 0.5, y - 0.5
    left, top = jnp.floor(x), jnp.floor(y)

    def at(row: Array, column: Array) -> Array:
        row = row.astype(jnp.int32).clip(0, height - 1)
        return image[row, column.astype(jnp.int32).clip(0, width - 1)]

    def between(first: Array, second: Array, share: Array) -> Array:
        return first + share[..., None] * (second - first)

    upper = between(at(top, left), at(top, left + 1), x - left)
    lower = between(at(top + 1, left), at(top + 1, left + 1), x - left)
    return jnp.where(inside[..., None], between(upper, lower, y - top), fill)


def _nearest(image: Array, matrix: Array, fill: float) -> Array:
    """Positions in 2^-16 of a pixel: whole numbers round alike on any machine."""
    height, width, _ = image.shape
    a, b, c, d, e, f = (jnp.float32(m) for m in matrix)

    def fixed(number: Array) -> Array:
        whole = jnp.floor(number)
        part = jnp.floor((number - whole) * 65536 + 0.5)
        return whole.astype(jnp.int32) * 65536 + part.astype(jnp.int32)

    y, x = (jnp.arange(n) for n in (height, width))
    x, y = (
        (fixed(r + 0.5 * p + 0.5 * q) + fixed(p) * x + fixed(q) * y[:, None]) >> 16
        for p, q, r in ((a, b, c), (d, e, f))
    )
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = image[y.clip(0, height - 1), x.clip(0, width - 1)]
    return jnp.where(inside[..., None], found, fill)


def shear_x_matrix(level: Number) -> Array:
    """Row y is read from `level` y further right. -> [6]."""
    return jnp.stack([1.0, jnp.float32(level), 0.0, 0.0, 1.0, 0.0])


def shear_y_matrix(level: Number) -> Array:
    """Column x is read from `level` x further down. -> [6]."""
    return jnp.stack([1.0, 0.0, 0.0, jnp.float32(level), 1.0, 0.0])


def translate_matrix(right: Number, down: Number) -> Array:
    """What is seen moves to the right and down. -> [6]."""
    return jnp.stack([1.0, 0.0, -jnp.float32(right), 0.0, 1.0, -jnp.float32(down)])


def rotate_matrix(degrees: Number, height: int, width: int) -> Array:
    """An anti-clockwise turn about the middle. -> [6]."""
    turn = jnp.deg2rad(jnp.float32(degrees))
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    x, y = width / 2, height / 2
    return jnp.stack(
        [cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]
    )


def shear_x(
    image: Array, level: Number, method: str = "nearest", fill: float = 0.0
) -> Array:
    """Sheared about the top row: row y moves `level` y pixels to the left. [H W C]."""
    return affine(image, shear_x_matrix(level), method, fill)


def shear_y(
    image: Array, level: Number, method: str = "nearest", fill: float = 0.0
) -> Array:
    """Sheared about the left column: column x moves `level` x pixels up. [H W C]."""
    return affine(image, shear_y_matrix(level), method, fill)


def translate(
    image: Array,
    right: Number,
    down: Number,
    method: str = "nearest",
    fill: float = 0.0,
) -> Array:
    """Moved by pixels to the right and down. [H W C]."""
    return affine(image, translate_matrix(right, down), method, fill)


def rotate(
    image: Array, degrees: Number, method: str = "nearest", fill: float = 0.0
) -> Array:
    """Turned anti-clockwise about the middle. [H W C]."""
    height, width, _ = image.shape
    return affine(image, rotate_matrix(degrees, height, width), method, fill)
