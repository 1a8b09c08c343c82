"""Windows of an image: what a kernel's places see, and who computes them."""

from collections.abc import Callable
from functools import partial

import jax
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


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def tile_max(x: Array, size: int) -> Array:
    """The largest value of each tile of size x size: x [B H W C] -> [B H' W' C].

    Its derivatives of every order pick where the first of the largest is, and compute
    nothing else; those of XLA's windows scatter, which takes CPUs many times as long.
    """
    return _largest(x, size)[0]


@tile_max.defjvp
def _tile_max_rule(size, primals, tangents) -> tuple[Array, Array]:
    y, where = _largest(*primals, size)
    ways = jnp.arange(size * size, dtype=where.dtype).reshape(size, 1, size, 1)
    picked = where[:, :, None, :, None] == ways
    return y, jnp.where(picked, _tiled(tangents[0], size), 0).sum((2, 4))


def _largest(x: Array, size: int) -> tuple[Array, Array]:
    """Of each tile: the largest value, and which of its places holds it first."""
    tiles = _tiled(x, size)
    places = [tiles[:, :, a, :, b] for a in range(size) for b in range(size)]
    y, where = places[0], jnp.zeros(places[0].shape, jnp.int32)
    for n, own in enumerate(places[1:], 1):
        where = jnp.where(own > y, n, where)
        y = jnp.maximum(y, own)
    return y, where


def _tiled(x: Array, size: int) -> Array:
    batch, high, wide, width = x.shape
    return x.reshape(batch, high // size, size, wide // size, size, width)
