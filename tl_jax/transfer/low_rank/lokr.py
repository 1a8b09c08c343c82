"""Kronecker products."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    scale_of,
    shape_of,
    spread,
    uniform,
)
from tl_jax.transfer.low_rank.loha import cored, flat, multiplied
from tl_jax.tree import node
from tl_jax.types import Array, Key, Params, Transfer

Factors = tuple[Array, ...]


@node
class LoKr:
    """x W + scale x (outer (x) inner). scale [].

    outer [m l] and inner [n k] with m n = I and l k = O, each whole or as the product
    of its factors.
    """

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    outer: Factors
    inner: Factors
    scale: Array

    def __call__(self, site: Params, value: Array, *, x: Any, key: Any = None) -> Array:
        """Multiply by one factor, then by the other: the large matrix never exists."""
        outer, inner = whole(self.outer), whole(self.inner)
        seen = x.reshape(*x.shape[:-1], outer.shape[0], inner.shape[0])
        rule = dict(preferred_element_type=value.dtype)
        part = jnp.einsum("...mn,nk->...mk", seen, inner.astype(x.dtype), **rule)
        outer = (self.scale * outer).astype(x.dtype)
        made = jnp.einsum("...mk,ml->...lk", part.astype(x.dtype), outer, **rule)
        return value + made.reshape(*x.shape[:-1], -1)

    def fold(self, site: Params) -> Params:
        """The site with W + scale (outer (x) inner) for a kernel."""
        delta = kronecker(whole(self.outer), whole(self.inner), self.scale)
        return site | {"kernel": base_weight(site) + delta}


@node
class KernelLoKr:
    """W + scale (outer (x) inner) for a convolution's kernel, before it is used.

    outer [m l], inner [h w n k], each whole or as the product of its factors, scale [].
    """

    point: ClassVar[str] = "kernel"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    outer: Factors
    inner: Factors
    scale: Array

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Add the product to the kernel."""
        return value + kronecker(whole(self.outer), whole(self.inner), self.scale)

    def fold(self, site: Params) -> Params:
        """The site with the kernel so made."""
        return site | {"kernel": self(site, base_weight(site))}


def whole(factors: Factors) -> Array:
    """A matrix from one, two or three factors."""
    return factors[0] if len(factors) == 1 else multiplied(factors)


def kronecker(outer: Array, inner: Array, scale: Array) -> Array:
    """outer [... m l], inner [... n k] -> [... mn lk], or with [h w] after the dots.

    The leading axes are those of stacked layers.
    """
    places = (1,) * (inner.ndim - outer.ndim)
    outer = outer.reshape(*outer.shape[:-2], *places, *outer.shape[-2:])
    made = jnp.einsum("...ml,...nk->...mnlk", outer, inner, precision="highest")
    *lead, m, n, columns, k = made.shape
    made = made.reshape(*lead, m * n, columns * k)
    return spread(scale, made) * made


def lokr(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    factor: int = -1,
    both: bool = False,
    effective: bool = False,
    name: str = "lokr",
) -> Transfer:
    """Add a Kronecker product of two small matrices to every matching kernel.

    W' = W + (alpha / rank) (outer (x) inner), with outer zero at the start, so that the
    function is unchanged (Edalati et al., 2022; Yeh et al., 2023). Sides are split as
    LyCORIS and PEFT do: I = m n and O = l k, by `factor` where it divides, otherwise
    into the two numbers that are nearest. inner [n k] is a product of rank `rank`
    where that is below half its longer side, and outer [m l], too, if `both`.

    `where` matches sites with a kernel, dense or of a convolution; `effective` gives
    low-rank inner kernels above 1x1 cores of their own. Dense layers multiply by one
    factor, then by the other, I k + m l k multiplications a row instead of PEFT's I O.

    Raises ValueError for a rank below 1 or a factor of 0 or below -1.
    """
    check_rank(name, rank)
    if factor == 0 or factor < -1:
        raise ValueError(f"lokr: factor is {factor}, expected -1 or at least 1")

    def make(key: Key, site: Params) -> LoKr | KernelLoKr:
        shape = shape_of(site)
        check_fit(name, rank, shape, thin=False)
        (m, n), (outs, k) = (factorised(side, factor) for side in shape[-2:])
        keys, place = jax.random.split(key, 4), shape[:-2]
        low = both and rank < max(m, outs) / 2
        outer = (jnp.zeros((m, outs)),)
        if low:
            outer = (uniform(keys[0], (m, rank), m), jnp.zeros((rank, outs)))
        inner = _inner(keys[1:], (*place, n, k), rank, effective)
        kind = KernelLoKr if place else LoKr
        return kind(outer, inner, scale_of(alpha, rank, False))

    return graft(where, name, make, has=("kernel",))


def _inner(keys: Array, shape: tuple[int, ...], rank: int, effective: bool) -> Factors:
    *place, n, k = shape
    area = 1
    for size in place:
        area *= size
    if rank >= max(n, k) / 2:
        return (uniform(keys[0], shape, n * area),)
    if effective and area > 1:
        return cored(keys, shape, rank)
    return flat(keys, shape, rank)


def factorised(size: int, factor: int = -1) -> tuple[int, int]:
    """Two numbers whose product is `size`, the first no larger than the second.

    With a `factor` that divides, it and the rest, in this order, whichever is larger.
    Otherwise the pair whose sum is least among those with the smaller number at most
    `factor`, or any for -1 (LyCORIS).
    """
    if factor > 0 and size % factor == 0:
        return factor, size // factor
    most = size if factor == -1 else factor
    best = (1, size)
    for low in range(2, int(size**0.5) + 1):
        if size % low == 0 and low <= most and low + size // low <= sum(best):
            best = (low, size // low)
    return best
