"""Convolutions and pooling over images [B H W C]."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.convolved import (
    NO_PADS,
    Pads,
    convolved,
    deep_convolved,
    fast_convolved,
    of_pictures,
    plain_convolved,
    plain_shifts,
    tapped,
)
from tl_jax.nn.dense import product
from tl_jax.nn.patches import patched, weight
from tl_jax.nn.pointwise import at_stride, pointwise
from tl_jax.nn.rules import Rules, by_hand
from tl_jax.nn.windows import tile_max
from tl_jax.tree import NoMatch, nearest, one_of
from tl_jax.types import Array, Key, Params

Padding = Literal["same", "valid"] | int | Sequence[tuple[int, int]]
NAMED = ("same", "valid")
"""The paddings that have a name."""
Form = Literal["auto", "lax", "taps"]


def conv(
    site: Params,
    x: Array,
    *,
    stride: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """y = x * K + b with the site's patches. x [B H W I] -> [B H' W' O], in x's dtype.

    The kernel is [h w I/groups O]; accumulated in float32 at least. `padding`: "same"
    as TensorFlow has it (what is odd goes to the end), "valid" for none, a number for
    each side as in torch, or pairs for height and width.

    `form` says how, with equal results: "lax" is XLA's convolution, on CPUs many times
    slower within a `scan`; "taps" one product for each place of the kernel, right where
    kernels are batched or differentiated twice; "auto" takes what is fastest, on CPUs
    in the forms of `nn.convolved`. Groups of several channels are XLA's in each form.
    `rules` say how "auto" is differentiated (`nn.rules`); "lax" and "taps" have no rule
    by hand but that of `product` in half precision.

    Raises `NoMatch` for an unknown form, rules or padding, ValueError for channels
    that don't fit and for an image smaller than the window.
    """
    one_of("form", form, get_args(Form))
    kernel = weight(site, key=key)
    pads = pads_of(x.shape[1:3], kernel.shape[:2], stride, padding)
    x = patched("input", site, x, key=key)
    y = _product(x, kernel, (stride, stride), pads, groups, form, rules)
    y = patched("product", site, y, x=x, key=key)
    if "bias" in site:
        y = y + site["bias"]
    y = patched("output", site, y, x=x, key=key)
    return y.astype(x.dtype)


def _product(x, kernel, stride, pads: Pads, groups: int, form, rules) -> Array:
    if x.shape[-1] != kernel.shape[2] * groups:
        raise ValueError(
            f"an image with {x.shape[-1]} channels, but a kernel "
            f"{list(kernel.shape)} in {groups} groups reads {kernel.shape[2] * groups}"
        )
    hand, taps = by_hand(rules), form == "taps"
    deep = groups > 1 and kernel.shape[2] == 1 and kernel.shape[3] == groups
    if form == "lax" or (groups > 1 and not deep):
        return plain_convolved(x, kernel, stride, pads, groups)
    if deep and taps:
        return plain_shifts(x, kernel, stride, pads)
    if deep:
        return deep_convolved(x, kernel, stride, pads, rules)
    if kernel.shape[:2] == (1, 1) and pads == NO_PADS:
        one = pointwise if hand and not taps else partial(product, rules=rules)
        return at_stride(one, x, kernel, stride)
    if taps:
        return tapped(x, kernel, stride, pads)
    own = convolved if hand and not of_pictures(x, kernel, stride) else fast_convolved
    return own(x, kernel, stride, pads)


def init_conv(
    key: Key, size: int, d_in: int, d_out: int, *, groups: int = 1, bias: bool = False
) -> Params:
    """`{"kernel": [size size d_in/groups d_out]}`: He's normal of the fan-out.

    (He et al., 2015), sqrt(2 / (size^2 d_out / groups)), as ResNets start.
    """
    std = (2 / (size * size * d_out / groups)) ** 0.5
    kernel = std * jax.random.normal(key, (size, size, d_in // groups, d_out))
    return {"kernel": kernel} | ({"bias": jnp.zeros(d_out)} if bias else {})


def max_pool(x: Array, size: int, stride: int, padding: Padding = "valid") -> Array:
    """The largest value of each window. x [B H W C] -> [B H' W' C].

    Of equal values the first has the gradient.
    """
    pads = pads_of(x.shape[1:3], (size, size), stride, padding)
    if size == stride and pads == NO_PADS:
        high, wide = (n // size * size for n in x.shape[1:3])
        return tile_max(x[:, :high, :wide], size)
    return _pool(x, size, stride, padding, -jnp.inf, lax.max)


def avg_pool(x: Array, size: int, stride: int, padding: Padding = "valid") -> Array:
    """The mean of each window, of what lies inside the image. [B H W C]."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total = _pool(wide, size, stride, padding, 0.0, lax.add)
    ones = jnp.ones((1, *x.shape[1:3], 1), wide.dtype)
    return (total / _pool(ones, size, stride, padding, 0.0, lax.add)).astype(x.dtype)


def global_pool(x: Array) -> Array:
    """The mean over an image. [B H W C] -> [B C], float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)).mean((1, 2))


def _pool(x, size, stride, padding, start, combine) -> Array:
    pads = pads_of(x.shape[1:3], (size, size), stride, padding)
    window, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(
        x, start, combine, window, strides, ((0, 0), *pads, (0, 0))
    )


def pads_of(
    image: Sequence[int], size: Sequence[int], stride: int, padding: Padding
) -> Pads:
    """(before, after) for height and width.

    Raises `NoMatch` for an unknown padding, ValueError where nothing would be left.
    """
    if padding == "same":
        need = [
            max((-(-n // stride) - 1) * stride + k - n, 0)
            for n, k in zip(image, size, strict=True)
        ]
        pads = tuple((n // 2, n - n // 2) for n in need)
    elif padding == "valid":
        pads = NO_PADS
    elif isinstance(padding, int):
        pads = ((padding, padding), (padding, padding))
    else:
        pads = _pairs(padding)
    for n, k, (low, high) in zip(image, size, pads, strict=True):
        if n + low + high < k:
            raise ValueError(
                f"an image of {image[0]} by {image[1]} is smaller than the window "
                f"{size[0]} by {size[1]} with padding {padding!r}"
            )
    return pads


def _pairs(padding: Sequence[tuple[int, int]]) -> Pads:
    """Two pairs of numbers as tuples; raises `NoMatch` for all else."""
    if not isinstance(padding, str):
        try:
            (top, bottom), (left, right) = padding
            return (int(top), int(bottom)), (int(left), int(right))
        except (TypeError, ValueError):
            pass
    text = isinstance(padding, str)
    hint = f"; nearest: {nearest(padding.lower(), NAMED, 1)[0]}" if text else ""
    raise NoMatch(
        f"padding is {padding!r}, expected {', '.join(map(repr, NAMED))}, a number, or "
        f"pairs (before, after) for height and width{hint}"
    )
