"""The three products of a convolution, in the forms that win on CPUs.

There XLA's own kernel gradient is the slowest of the three, two to three times slower
than rows of shifted inputs times the cotangent, some images at a time so that they
stay in the cache; in half precision the same holds for all three. In float32 a 3x3
kernel at a stride of 1 goes by `winograd`, its gradient of many channels alone, or by
`nn.taps` over the few channels of a picture. On GPUs and TPUs all is left to XLA.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn import winograd
from tl_jax.nn.rules import Rules, by_hand
from tl_jax.nn.taps import convolve
from tl_jax.nn.windows import Pads, by_platform, padded, places, shifted, undoing
from tl_jax.types import Array

NO_PADS: Pads = ((0, 0), (0, 0))
CACHE = 3 * 2**19
"""Bytes of the columns that a part of a batch has, of which a kernel gradient is
summed. For most of the shapes timed a quarter or three times as many took longer, some
nearly twice as long; half or twice as many differ less."""
FEW = 4
"""Channels of a picture, whose columns under a kernel are few."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolved(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads) -> Array:
    """x [B H W I] with kernel [h w I O] in x's dtype -> [B H' W' O], float32 at least.

    Reverse mode of any order and forward over reverse; `fast_convolved` knows every
    mode. In half precision cotangents are rounded to x's dtype.
    """
    return _forward(x, kernel, stride, pads)[0]


def fast_convolved(
    x: Array, kernel: Array, stride: tuple[int, int], pads: Pads
) -> Array:
    """The same with JAX's own derivatives."""
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def plain(x: Array, kernel: Array) -> Array:
        return plain_convolved(x, kernel, stride, pads).astype(wide)

    fast = tapped if _half(x) or of_pictures(x, kernel, stride) else plain_convolved
    return by_platform(partial(fast, stride=stride, pads=pads), plain)(x, kernel)


def of_pictures(x: Array, kernel: Array, stride: tuple[int, int]) -> bool:
    """True where JAX's own derivatives of products over taps are the fastest."""
    small = kernel.shape[:2] == (3, 3) and kernel.shape[2] <= FEW
    return small and stride == (1, 1) and not _half(x)


def plain_convolved(
    x: Array,
    kernel: Array,
    stride: tuple[int, int],
    pads: Pads,
    groups: int = 1,
) -> Array:
    """The same by `lax.conv_general_dilated`, in x's dtype, with `groups`."""
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        stride,
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def tapped(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads) -> Array:
    """The same as products of matrices, right under `vmap` and differentiated twice.

    In half precision one product a kernel's place, summed; else `nn.taps`.
    """
    h, w = kernel.shape[:2]
    kernel = kernel.astype(x.dtype)
    if not _half(x):
        return convolve(x, kernel, stride, pads)
    x = padded(x, pads)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    tall, broad = places(x, (h, w), stride)
    product = partial(jnp.einsum, "bhwi,io->bhwo", preferred_element_type=wide)
    parts = [
        product(shifted(x, (a, b), stride, (tall, broad)), kernel[a, b])
        for a in range(h)
        for b in range(w)
    ]
    return sum(parts[1:], parts[0])


def deep_convolved(
    x: Array,
    kernel: Array,
    stride: tuple[int, int],
    pads: Pads,
    rules: Rules = "hand",
) -> Array:
    """Every channel by itself: kernel [h w 1 C] -> [B H' W' C], float32 at least.

    On CPUs as a sum of shifted images, 15 to 40 times faster than XLA's own there;
    by its own rule there, `shifts`, or with `rules="auto"` by JAX's derivatives.
    """
    own = shifts if by_hand(rules) else plain_shifts

    def plain(x: Array, kernel: Array) -> Array:
        y = plain_convolved(x, kernel, stride, pads, x.shape[-1])
        return y.astype(jnp.promote_types(x.dtype, jnp.float32))

    return by_platform(lambda x, kernel: own(x, kernel, stride, pads), plain)(x, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifts(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads) -> Array:
    """The sum of shifted images, x [B H W C] and kernel [h w 1 C] -> [B H' W' C].

    By its rule the gradient of x is such a sum, too, of the cotangent, spread by the
    stride, with the kernel turned about: one pass, where the transposed shifts would
    each be written out. Reverse mode of any order and forward over reverse;
    `plain_shifts` knows every mode.
    """
    return plain_shifts(x, kernel, stride, pads)


def plain_shifts(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads) -> Array:
    """The same with JAX's own derivatives."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    h, w = kernel.shape[:2]
    x = padded(x, pads)
    at = places(x, (h, w), stride)
    total = jnp.zeros((), wide)
    for a in range(h):
        for b in range(w):
            part = shifted(x, (a, b), stride, at).astype(wide)
            total = total + part * kernel[a, b, 0].astype(wide)
    return total


def _shifts_forward(x, kernel, stride, pads) -> tuple[Array, tuple]:
    return plain_shifts(x, kernel, stride, pads), (x, kernel)


def _shifts_backward(stride, pads, saved: tuple, dy: Array) -> tuple[Array, Array]:
    x, kernel = saved
    (dk,) = jax.vjp(lambda own: plain_shifts(x, own, stride, pads), kernel)[1](dy)
    spread = _spread(dy.astype(x.dtype), stride)
    turned = undoing(kernel.shape[:2], pads)
    missing = [
        n - m - sum(p) + k - 1
        for n, m, p, k in zip(
            x.shape[1:3], spread.shape[1:3], turned, kernel.shape[:2], strict=True
        )
    ]  # rows at the end that no place of the kernel has seen
    ends = tuple((a, b + more) for (a, b), more in zip(turned, missing, strict=True))
    dx = plain_shifts(spread, jnp.flip(kernel, (0, 1)), (1, 1), ends)
    return dx.astype(x.dtype), dk


shifts.defvjp(_shifts_forward, _shifts_backward)


def _spread(dy: Array, stride: tuple[int, int]) -> Array:
    """Zeros between rows and columns, one less than the stride of each."""
    edges = [(0, 0, 0), *((0, 0, step - 1) for step in stride), (0, 0, 0)]
    return lax.pad(dy, jnp.zeros((), dy.dtype), edges)


def _forward(x, kernel, stride, pads) -> tuple[Array, tuple]:
    saved = x, kernel
    if not _by_tiles(x, kernel, stride, pads):
        return fast_convolved(x, kernel, stride, pads), saved

    def plain(x: Array, kernel: Array) -> Array:
        return plain_convolved(x, kernel, stride, pads)

    def fast(x: Array, kernel: Array) -> Array:
        return winograd.winograd(x, kernel.astype(x.dtype), pads)

    return by_platform(fast, plain)(x, kernel), saved


def _by_tiles(x: Array, kernel: Array, stride, pads) -> bool:
    """True where `winograd` is the fastest form."""
    width = max(kernel.shape[2:])
    fits = winograd.fits(x, min(kernel.shape[2:]), kernel.shape[:2], stride, pads)
    return fits and not _half(x) and winograd.pays(x, width, pads)


def _backward(stride, pads, saved: tuple, cotangent: Array) -> tuple[Array, Array]:
    x, kernel = saved
    dy = cotangent.astype(x.dtype)
    own = kernel.astype(x.dtype)

    def plain(x: Array, own: Array, dy: Array) -> tuple[Array, Array]:
        dx, dk = _transposed(x, own, dy, stride, pads)
        return dx, dk.astype(kernel.dtype)

    def fast(x: Array, own: Array, dy: Array) -> tuple[Array, Array]:
        dk = kernel_gradient(x, dy, kernel.shape, stride, pads)
        return _input_gradient(x, own, dy, stride, pads), dk.astype(kernel.dtype)

    return by_platform(fast, plain)(x, own, dy)


convolved.defvjp(_forward, _backward)


def _half(x: Array) -> bool:
    return jnp.finfo(x.dtype).bits < 32


def _transposed(x: Array, kernel: Array, dy: Array, stride, pads):
    """XLA's own (dx, dK), all of one dtype."""

    def own(x: Array, kernel: Array) -> Array:
        return plain_convolved(x, kernel, stride, pads)

    return jax.vjp(own, x, kernel)[1](dy)


def _input_gradient(x: Array, kernel: Array, dy: Array, stride, pads) -> Array:
    """dx: for a stride of 1 the cotangent with the kernel turned about."""
    turned = undoing(kernel.shape[:2], pads)
    if not _half(x):
        if _by_tiles(dy, kernel, stride, turned):
            return winograd.winograd(dy, kernel, turned, back=True)
        return _transposed(x, kernel, dy, stride, pads)[0]
    if stride != (1, 1):
        wide = (a.astype(jnp.float32) for a in (x, kernel, dy))
        return _transposed(*wide, stride, pads)[0].astype(x.dtype)
    about = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return tapped(dy, about, stride, turned).astype(x.dtype)


def kernel_gradient(x: Array, dy: Array, shape, stride, pads) -> Array:
    """dK[a, b] = sum over images and places of x shifted by (a, b) times dy."""
    h, w, width, out = shape
    tiled = winograd.fits(x, out, shape[:2], stride, pads)
    if tiled and not _half(x) and max(width, out) >= winograd.WIDE:
        return winograd.kernel_gradient(x, dy, pads)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x, at = padded(x, pads), dy.shape[1:3]

    def rows(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        x, dy = part
        found = []
        for a in range(h):
            shifts = [shifted(x, (a, b), stride, at) for b in range(w)]
            columns = jnp.concatenate(shifts, axis=-1)
            rule = "bhwo,bhwk->ok"
            found.append(jnp.einsum(rule, dy, columns, preferred_element_type=wide))
        return total + jnp.stack(found), None

    count = _parts_of(len(x), w * width * at[0] * at[1] * x.dtype.itemsize)
    parts = [a.reshape(count, -1, *a.shape[1:]) for a in (x, dy)]
    start = jnp.zeros((h, out, w * width), wide)
    total, _ = lax.scan(rows, start, tuple(parts))
    return total.reshape(h, out, w, width).transpose(0, 2, 3, 1)


def _parts_of(batch: int, size: int) -> int:
    """The fewest equal parts of a batch whose columns, `size` bytes a row, fit."""
    fitting = (n for n in range(1, batch) if batch % n == 0)
    return next((n for n in fitting if batch // n * size <= CACHE), max(batch, 1))
