"""Hadamard products of two low-rank matrices."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    low_rank,
    scale_of,
    shape_of,
    spread,
    uniform,
)
from tl_jax.tree import node
from tl_jax.types import Array, Key, Params, Transfer

Factors = tuple[Array, Array] | tuple[Array, Array, Array]
"""(a, b) or, of a convolution's cores, (a [I r], t [h w r r], b [r O])."""


@node
class LoHa:
    """W + scale (a1 b1) * (a2 b2), elementwise, for a kernel before it is used.

    Each factor is a [I r], or [h w I r] of a convolution, and b [r O]; or, "effective",
    a [I r], t [h w r r], b [r O], whose product is a t b at each place. scale [].
    """

    point: ClassVar[str] = "kernel"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    first: Factors
    second: Factors
    scale: Array

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Add the product to the kernel."""
        return value + self.delta()

    def delta(self) -> Array:
        """What is added: the kernel's shape."""
        made = multiplied(self.first) * multiplied(self.second)
        return spread(self.scale, made) * made

    def fold(self, site: Params) -> Params:
        """The site with the kernel so made."""
        return site | {"kernel": base_weight(site) + self.delta()}


def multiplied(factors: Factors) -> Array:
    """A matrix or a convolution's kernel from its factors; stacked layers lead."""
    if len(factors) == 2:
        a, b = factors
        return low_rank(a, b, jnp.ones(b.shape[:-2]))
    a, core, b = factors
    rule = "...ij,...hwjk,...ko->...hwio"
    return jnp.einsum(rule, a, core, b, precision="highest")


def loha(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    effective: bool = False,
    name: str = "loha",
) -> Transfer:
    """Add the elementwise product of two low-rank matrices to every matching kernel.

    W' = W + (alpha / rank) (a1 b1) * (a2 b2), whose rank is up to rank^2, with a2 zero
    at the start, so that the function is unchanged (Hyeon-Woo et al., 2021, FedPara;
    Yeh et al., 2023). It is added to the kernel, since no shorter product with the
    input exists; PEFT multiplies twice. Even values as PEFT has them.

    `where` matches sites with a kernel, dense or of a convolution; `effective` gives
    convolutions above 1x1 cores of their own, t [h w r r] (FedPara's proposition 3).
    Raises ValueError for a rank below 1 or a kernel of other axes.
    """
    check_rank(name, rank)

    def make(key: Key, site: Params) -> LoHa:
        shape = shape_of(site)
        check_fit(name, rank, shape, thin=False)
        keys = jax.random.split(key, 6)
        if effective and len(shape) == 4 and shape[:2] != (1, 1):
            first, second = (cored(k, shape, rank) for k in (keys[:3], keys[3:]))
        else:
            first, second = (flat(k, shape, rank) for k in (keys[:2], keys[3:5]))
        second = (jnp.zeros_like(second[0]), *second[1:])
        return LoHa(first, second, scale_of(alpha, rank, False))

    return graft(where, name, make, has=("kernel",))


def flat(keys: Array, shape: tuple[int, ...], rank: int) -> tuple[Array, Array]:
    """a of all axes but the last, b of the last."""
    fan_in = 1
    for size in shape[:-1]:
        fan_in *= size
    a = uniform(keys[0], (*shape[:-1], rank), fan_in)
    return a, uniform(keys[1], (rank, shape[-1]), rank)


def cored(keys: Array, shape: tuple[int, ...], rank: int) -> Factors:
    """a [I r], t [h w r r], b [r O]; fans as PEFT's tensors, turned, have them."""
    h, w, d_in, d_out = shape
    a = uniform(keys[0], (d_in, rank), d_in)
    core = uniform(keys[1], (h, w, rank, rank), rank * h * w)
    return a, core, uniform(keys[2], (rank, d_out), d_out)
