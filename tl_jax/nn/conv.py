"""Convolutions and pooling over images [B H W C]."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.convolved import (
    Pads,
    convolved,
    deep_convolved,
    plain_convolved,
    pointwise,
    tapped,
)
from tl_jax.nn.dense import product
from tl_jax.nn.patches import patched
from tl_jax.types import Array, Key, Params

Padding = Literal["same", "valid"] | int | Sequence[tuple[int, int]]
Form = Literal["auto", "lax", "taps"]


def conv(
    site: Params,
    x: Array,
    *,
    stride: int = 1,
    padding: Padding = "same",
    groups: int = 1,
    form: Form = "auto",
    key: Key | None = None,
) -> Array:
    """y = x * K + b with the site's patches. x [B H W I] -> [B H' W' O], in x's dtype.

    The kernel is [h w I/groups O]; accumulated in float32 at least. `padding`: "same"
    as TensorFlow has it (what is odd goes to the end), "valid" for none, a number for
    each side as in torch, or pairs for height and width.

    `form` says how, with equal results: "lax" is XLA's convolution; "taps" one product
    for each place of the kernel, right where kernels are batched or differentiated
    twice; "auto" takes what is fastest, on CPUs by `convolved`, whose rule knows no
    `jax.jvp`. With groups it is "auto" or "lax".
    """
    kernel = site["kernel"]
    pads = pads_of(x.shape[1:3], kernel.shape[:2], stride, padding)
    x = patched("input", site, x, key=key)
    y = _product(x, kernel, (stride, stride), pads, groups, form)
    y = patched("product", site, y, x=x, key=key)
    if "bias" in site:
        y = y + site["bias"]
    y = patched("output", site, y, x=x, key=key)
    return y.astype(x.dtype)


def _product(x, kernel, stride, pads: Pads, groups: int, form: Form) -> Array:
    if x.shape[-1] != kernel.shape[2] * groups:
        raise ValueError(
            f"an image with {x.shape[-1]} channels, but a kernel "
            f"{list(kernel.shape)} in {groups} groups reads {kernel.shape[2] * groups}"
        )
    deep = groups > 1 and kernel.shape[2] == 1 and kernel.shape[3] == groups
    if form == "lax" or (groups > 1 and not deep):
        return plain_convolved(x, kernel, stride, pads, groups)
    if deep:
        return deep_convolved(x, kernel, stride, pads)
    if kernel.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0)):
        one = product if form == "taps" else pointwise
        return one(x[:, :: stride[0], :: stride[1]], kernel[0, 0])
    return (tapped if form == "taps" else convolved)(x, kernel, stride, pads)


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
    """The largest value of each window. x [B H W C] -> [B H' W' C]."""
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
    """(before, after) for height and width; ValueError where nothing would be left."""
    if padding == "same":
        need = [
            max((-(-n // stride) - 1) * stride + k - n, 0)
            for n, k in zip(image, size, strict=True)
        ]
        pads = tuple((n // 2, n - n // 2) for n in need)
    elif padding == "valid":
        pads = ((0, 0), (0, 0))
    elif isinstance(padding, int):
        pads = ((padding, padding), (padding, padding))
    else:
        pads = tuple((int(low), int(high)) for low, high in padding)
    for n, k, (low, high) in zip(image, size, pads, strict=True):
        if n + low + high < k:
            raise ValueError(
                f"an image of {image[0]} by {image[1]} is smaller than the window "
                f"{size[0]} by {size[1]} with padding {padding!r}"
            )
    return pads
