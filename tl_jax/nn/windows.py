"""Windows of an image: what a kernel's places see, and who computes them."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from tl_jax.types import Array

Pads = tuple[tuple[int, int], tuple[int, int]]
"""(before, after) of height and width."""


def undoing(size: tuple[int, int], pads: Pads) -> Pads:
    """Pads of the convolution, at a stride of 1, that undoes one's shifts."""
    low, high = (
        (n - 1 - first, n - 1 - last)
        for n, (first, last) in zip(size, pads, strict=True)
    )
    return low, high


def by_platform(cpu: Callable, other: Callable) -> Callable:
    """`cpu` where that is what the program is compiled for, else `other`."""
    return lambda *args: lax.platform_dependent(*args, cpu=cpu, default=other)


def padded(x: Array, pads: Pads) -> Array:
    """Zeros around; a negative number cuts."""
    edges = [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def places(x: Array, size: tuple[int, int], stride) -> tuple[int, int]:
    """Where a kernel fits into a padded x."""
    found = [
        (n - k) // s + 1 for n, k, s in zip(x.shape[1:3], size, stride, strict=True)
    ]
    return found[0], found[1]


def shifted(x: Array, by: tuple[int, int], stride, places) -> Array:
    """What a kernel's place `by` sees of a padded x, [B H' W' I]."""
    stop = [b + (n - 1) * s + 1 for b, n, s in zip(by, places, stride, strict=True)]
    first, last = (0, *by, 0), (len(x), *stop, x.shape[3])
    return lax.slice(x, first, last, (1, *stride, 1))
