"""Convolutions by kernels of one place: products of matrices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tl_jax.nn.convolved import NO_PADS, kernel_gradient, plain_convolved
from tl_jax.nn.dense import product
from tl_jax.nn.windows import by_platform
from tl_jax.types import Array


def at_stride(one: Callable, x: Array, kernel: Array, stride: tuple[int, int]) -> Array:
    """`one(x, kernel)` of every so many rows and columns, kernel [1 1 I O].

    Above a stride of 1 it is XLA's convolution on GPUs and TPUs: the compiler of 0.11
    aborts the process on a GPU where it fuses such rows into a product.
    """

    def product_of(x: Array, kernel: Array) -> Array:
        return one(x[:, :: stride[0], :: stride[1]], kernel[0, 0])

    def plain(x: Array, kernel: Array) -> Array:
        y = plain_convolved(x, kernel, stride, NO_PADS)
        return y.astype(jnp.promote_types(x.dtype, jnp.float32))

    if stride == (1, 1):
        return product_of(x, kernel)
    return by_platform(product_of, plain)(x, kernel)


@jax.custom_vjp
def pointwise(x: Array, kernel: Array) -> Array:
    """A kernel of one place: x [B H W I] with [I O] -> [B H W O], float32 at least.

    On CPUs the kernel's gradient is summed over parts of the batch. As one product,
    XLA writes what made the cotangent (a batch norm's gradient, say) anew and
    transposed for it, which took half of a whole step of an EfficientNet. Reverse mode
    of any order and forward over reverse; `product` by "auto" rules knows every mode.
    """
    return product(x, kernel, "auto")


def _pointwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple]:
    return product(x, kernel, "auto"), (x, kernel)


def _pointwise_backward(saved: tuple, cotangent: Array) -> tuple[Array, Array]:
    x, kernel = saved

    def plain(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
        return jax.vjp(product, x, kernel)[1](dy)

    def fast(x: Array, kernel: Array, dy: Array) -> tuple[Array, Array]:
        (dx,) = jax.vjp(lambda x: product(x, kernel), x)[1](dy)
        own = dy.astype(x.dtype)
        dk = kernel_gradient(x, own, (1, 1, *kernel.shape), (1, 1), NO_PADS)
        return dx, dk[0, 0].astype(kernel.dtype)

    return by_platform(fast, plain)(x, kernel, cotangent)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)
