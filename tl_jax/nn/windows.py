"""Windows of an image: what a kernel's places see, and who computes them."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

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
    """The value by the rule itself: of equal ones `jnp.maximum` halves the gradient."""
    _, where = _largest(*primals, size)
    dy = tiles_p.bind(tangents[0], where, size=size, pick=True)
    return tile_max(*primals, size), dy


def _largest(x: Array, size: int) -> tuple[Array, Array]:
    """Of each tile: the largest value, and which of its places holds it first."""
    y, *rest = _places(x, size)
    where = jnp.zeros(y.shape, jnp.int32)
    for n, own in enumerate(rest, 1):
        where = jnp.where(own > y, n, where)
        y = jnp.maximum(y, own)
    return y, where


def _places(x: Array, size: int) -> list[Array]:
    """The first place of each tile, the second, ...: size^2 times [B H' W' C]."""
    return [x[:, a::size, b::size] for a in range(size) for b in range(size)]


def _picked(x: Array, where: Array, *, size: int, pick: bool) -> Array:
    """`pick`: x [B H W C] -> [B H' W' C], a value of each tile; else its transpose."""
    if pick:
        y, *rest = _places(x, size)
        y = jnp.where(where == 0, y, 0)
        for n, own in enumerate(rest, 1):
            y = jnp.where(where == n, own, y)
        return y
    batch, high, wide, width = where.shape
    shape = (batch, high, size, wide, size, width)
    place = size * lax.broadcasted_iota(where.dtype, shape, 2)
    place += lax.broadcasted_iota(where.dtype, shape, 4)
    here = where[:, :, None, :, None] == place
    whole = jnp.where(here, x[:, :, None, :, None], 0)
    return whole.reshape(batch, high * size, wide * size, width)


def _picked_shape(x: Array, where: Array, *, size: int, pick: bool) -> ShapedArray:
    batch, high, wide, width = where.shape
    shape = where.shape if pick else (batch, high * size, wide * size, width)
    return ShapedArray(shape, x.dtype)


def _picked_map(args: tuple, axes: tuple, **how) -> tuple[Array, int]:
    """A mapped axis is more images."""
    count = next(a.shape[i] for a, i in zip(args, axes, strict=True) if i is not None)
    args = [
        jnp.broadcast_to(a, (count, *a.shape)) if i is None else jnp.moveaxis(a, i, 0)
        for a, i in zip(args, axes, strict=True)
    ]
    y = tiles_p.bind(*(a.reshape(-1, *a.shape[2:]) for a in args), **how)
    return y.reshape(count, -1, *y.shape[1:]), 0


def _picked_back(ct: Array, x: Array, where: Array, *, size: int, pick: bool) -> list:
    if type(ct) is ad.Zero:
        return [ad.Zero(x.aval), None]
    return [tiles_p.bind(ct, where, size=size, pick=not pick), None]


def _picked_jvp(primals: tuple, tangents: tuple, **how) -> tuple:
    """Linear in its first operand; the second is of whole numbers."""
    y = tiles_p.bind(*primals, **how)
    if type(tangents[0]) is ad.Zero:
        return y, jnp.zeros_like(y)
    return y, tiles_p.bind(tangents[0], primals[1], **how)


tiles_p = Primitive("tiles")
tiles_p.def_impl(_picked)
tiles_p.def_abstract_eval(_picked_shape)
ad.primitive_jvps[tiles_p] = _picked_jvp
ad.primitive_transposes[tiles_p] = _picked_back
batching.primitive_batchers[tiles_p] = _picked_map
mlir.register_lowering(tiles_p, mlir.lower_fun(_picked, False))
