"""Low-rank adaptation of directions, with magnitudes of their own."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn import base_weight, dropout, product, thin_product, weight
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    low_rank,
    scale_of,
    shape_of,
)
from tl_jax.transfer.low_rank.lora import check_no_dropout
from tl_jax.tree import node, static
from tl_jax.types import Array, Key, Params, Transfer


@node
class DoRA:
    """g (x W + scale (x a) b), g = magnitude / |W + scale a b| by column.

    a [I r], b [r O], magnitude [O], scale []. The norm has no gradient.
    """

    point: ClassVar[str] = "product"
    first: ClassVar[bool] = True  # its norm is that of the kernel alone
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    a: Array
    b: Array
    magnitude: Array
    scale: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Turn and stretch; dropout acts on all that is added to x W, as in PEFT."""
        kernel = weight(site)
        moved = kernel + low_rank(self.a, self.b, self.scale)
        gain = stretch(self.magnitude, moved)
        dropped = dropout(x, self.rate, key)
        low = thin_product(dropped, self.a).astype(x.dtype)
        low = thin_product(low, self.scale * self.b)
        if dropped is x:
            return gain * (value + low)
        return value + (gain - 1) * product(dropped, kernel) + gain * low

    def fold(self, site: Params) -> Params:
        """The site with g (W + scale a b) for a kernel."""
        moved = base_weight(site) + low_rank(self.a, self.b, self.scale)
        return site | {"kernel": stretch(self.magnitude, moved) * moved}


@node
class KernelDoRA:
    """g (W + scale a b) for a convolution's kernel [h w I O], before it is used.

    a [h w I r], b [r O], magnitude [O], scale [].
    """

    point: ClassVar[str] = "kernel"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    a: Array
    b: Array
    magnitude: Array
    scale: Array

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Turn and stretch the kernel."""
        moved = value + low_rank(self.a, self.b, self.scale)
        return stretch(self.magnitude, moved) * moved

    def fold(self, site: Params) -> Params:
        """The site with the kernel so made."""
        return site | {"kernel": self(site, base_weight(site))}


def norms(kernel: Array, lead: int = 0) -> Array:
    """Lengths of a kernel's columns, all axes but the last: [O], or [L O] of stacks."""
    axes = tuple(range(lead, kernel.ndim - 1))
    return jnp.sqrt(jnp.square(kernel.astype(jnp.float32)).sum(axes))


def stretch(magnitude: Array, moved: Array) -> Array:
    """magnitude / |moved|, the norm a constant of the gradient; 1 for a zero column."""
    lead = magnitude.ndim - 1
    length = lax.stop_gradient(norms(moved, lead))
    gain = jnp.where(length > 0, magnitude / jnp.where(length > 0, length, 1), 1)
    shape = (*gain.shape[:-1], *(1,) * (moved.ndim - gain.ndim), gain.shape[-1])
    return gain.reshape(shape)


def dora(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    stable: bool = False,
    name: str = "dora",
) -> Transfer:
    """LoRA that learns a kernel's directions and its columns' lengths apart.

    W' = m (W + s a b) / |W + s a b|, norms by column over all of the output's inputs;
    m = |W| and b = 0 at the start, so that the function is unchanged (Liu et al.,
    2024). As in the paper's section 4.3 and PEFT, no gradient goes through the norm.

    `where` matches sites with a kernel, dense or of a convolution, `rate` is the
    dropout: as in PEFT it acts on the input of everything that is added to x W, of
    (g - 1) x W too. It must come first of the patches at a dense product, since its
    norm knows no others.

    Raises ValueError for a rank that the kernel can't have, for dropout at a
    convolution, and, with both names, where another patch would come before it.
    """
    check_rank(name, rank)

    def make(key: Key, site: Params) -> DoRA | KernelDoRA:
        shape = shape_of(site)
        check_fit(name, rank, shape)
        kernel = weight(site)
        a = jax.random.normal(key, (*shape[:-1], rank)) / (kernel[..., 0].size) ** 0.5
        b = jnp.zeros((rank, shape[-1]))
        parts = a, b, norms(kernel), scale_of(alpha, rank, stable)
        if len(shape) == 2:
            return DoRA(*parts, rate)
        check_no_dropout(name, rate, shape)
        return KernelDoRA(*parts)

    return graft(where, name, make, has=("kernel",))
