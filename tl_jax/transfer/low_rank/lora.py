"""Low-rank adaptation of dense layers, convolutions and embeddings, and its rates."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight, dropout, thin_product
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    low_rank,
    rated,
    scale_of,
    shape_of,
)
from tl_jax.tree import node, one_of, static
from tl_jax.types import Array, Key, Params, Transfer

Leaf = Literal["kernel", "embedding"]


@node
class LoRA:
    """x W + scale (x a) b. a [I r], b [r O], scale [].

    `residual`: W is what PiSSA or OLoRA left of the base's kernel, so that a and b
    mean nothing beside the base itself; `as_lora` makes them an ordinary LoRA.
    """

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    ranks: ClassVar[Mapping[str, int]] = {"a": -1, "b": -2}
    a: Array
    b: Array
    scale: Array
    rate: float = static(0.0)
    residual: bool = static(False)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the low-rank product; dropout acts on this branch alone."""
        low = thin_product(dropout(x, self.rate, key), self.a).astype(x.dtype)
        return value + thin_product(low, self.scale * self.b)

    def fold(self, site: Params) -> Params:
        """The site with W + scale a b for a kernel."""
        delta = low_rank(self.a, self.b, self.scale)
        return site | {"kernel": base_weight(site) + delta}


@node
class KernelLoRA:
    """W + scale a b for a kernel or table, before it is used.

    a [h w I r] of a convolution or [V r] of a table, b [r O], scale [].
    """

    point: ClassVar[str] = "kernel"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    ranks: ClassVar[Mapping[str, int]] = {"a": -1, "b": -2}
    a: Array
    b: Array
    scale: Array
    leaf: str = static("kernel")

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Add the low-rank product to the kernel."""
        return value + low_rank(self.a, self.b, self.scale)

    def fold(self, site: Params) -> Params:
        """The site with W + scale a b."""
        delta = low_rank(self.a, self.b, self.scale)
        return site | {self.leaf: base_weight(site, self.leaf) + delta}


@node
class LookupLoRA:
    """E[i] + scale a[i] b for the rows i that are looked up. a [V r], b [r D]."""

    point: ClassVar[str] = "output"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    ranks: ClassVar[Mapping[str, int]] = {"a": -1, "b": -2}
    a: Array
    b: Array
    scale: Array

    def __call__(self, site: Params, value: Array, *, x: Any, key: Any = None) -> Array:
        """Add the rows' low-rank product. x: the ids."""
        return value + thin_product(self.a[x], self.scale * self.b)

    def fold(self, site: Params) -> Params:
        """The site with E + scale a b for a table."""
        delta = low_rank(self.a, self.b, self.scale)
        return site | {"embedding": base_weight(site, "embedding") + delta}


def lora(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    stable: bool = False,
    leaf: Leaf = "kernel",
    tied: bool = False,
    name: str = "lora",
) -> Transfer:
    """Add a trainable rank-`rank` product beside every matching kernel.

    y = x W + (alpha / rank) (x a) b, with b zero at the start, so that the function
    is unchanged (Hu et al., 2021). `where` matches sites that hold a `leaf`; `rate`
    is the dropout of the branch, `stable` divides alpha by sqrt(rank). a is normal with
    variance 1 / I (PEFT's is even in +-1 / sqrt(I)). The base's rates are untouched:
    `freeze` them first.

    A convolution's a has the shape of its kernel, [h w I r], and b is a 1x1
    convolution, [r O], as in PEFT. The two are added to the kernel, since together
    they are linear; with dropout before them they would not be, so it raises. (Of
    grouped convolutions PEFT's a reads all channels; here it reads a group's.)

    `leaf="embedding"`: rows a[i] b are added to those looked up, a zero and b normal
    at the start, as PEFT has it, and without dropout, as there. `tied` adds them to
    the table itself, so that an output layer tied to it sees them too; without it,
    folding a tied table changes that layer's scores.

    Raises ValueError for a rank below 1 or above what the kernel can have, and for
    dropout at a convolution; `NoMatch` for another leaf.
    """
    check_rank(name, rank)
    one_of("lora: leaf", leaf, get_args(Leaf))
    scale = alpha, rank, stable

    def make(key: Key, site: Params) -> LoRA | KernelLoRA:
        shape = shape_of(site)
        check_fit(name, rank, shape)
        fan_in = shape[0] if len(shape) == 2 else shape[0] * shape[1] * shape[2]
        a = jax.random.normal(key, (*shape[:-1], rank)) / fan_in**0.5
        b = jnp.zeros((rank, shape[-1]))
        if len(shape) == 2:
            return LoRA(a, b, scale_of(*scale), rate)
        check_no_dropout(name, rate, shape)
        return KernelLoRA(a, b, scale_of(*scale))

    def make_table(key: Key, site: Params) -> LookupLoRA | KernelLoRA:
        rows, width = shape_of(site, "embedding")
        a, b = jnp.zeros((rows, rank)), jax.random.normal(key, (rank, width))
        if tied:
            return KernelLoRA(a, b, scale_of(*scale), "embedding")
        return LookupLoRA(a, b, scale_of(*scale))

    return graft(where, name, make if leaf == "kernel" else make_table, has=(leaf,))


def check_no_dropout(name: str, rate: float, shape: tuple[int, ...]) -> None:
    """Raise ValueError for dropout before a patch that is part of the kernel."""
    if rate:
        raise ValueError(
            f"{name}: dropout {rate} beside a convolution's kernel {list(shape)}, "
            "expected 0: there the product is part of the kernel, which is applied "
            "to an undropped input"
        )


def rslora(
    rank: int, where: str, alpha: float = 8.0, *, rate: float = 0.0, name: str = "lora"
) -> Transfer:
    """LoRA scaled by alpha / sqrt(rank) (Kalajdzievski, 2023).

    So that the size of its output, and of its gradients, depends on no rank.
    """
    return lora(rank, where, alpha, rate=rate, stable=True, name=name)


def lora_plus(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    ratio: float = 16.0,
    rate: float = 0.0,
    stable: bool = False,
    name: str = "lora",
) -> Transfer:
    """LoRA whose b learns `ratio` times as fast as a (Hayou et al., 2024).

    rate(b) = ratio rate(a), from 2 to 32 in the paper, 16 by default there; the rate
    of a is then set somewhat smaller than LoRA's. PEFT does this in a constructor of
    optimisers. Raises ValueError for a ratio that is not above 0.
    """
    if not ratio > 0:
        raise ValueError(f"lora_plus: ratio is {ratio}, expected above 0")
    plain = lora(rank, where, alpha, rate=rate, stable=stable, name=name)
    return rated(plain, name, b=float(ratio))


def lora_fa(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    stable: bool = False,
    name: str = "lora",
) -> Transfer:
    """LoRA with its random a frozen (Zhang et al., 2023): half the moving weights.

    The backward pass keeps x a [B T r] instead of x, which is the memory it saves.
    PEFT's optimiser of this name also multiplies b's gradient by (a^T a)^-1 / scale^2
    (Wang et al., 2024, LoRA-Pro), which is no part of the paper nor of this.
    """
    plain = lora(rank, where, alpha, rate=rate, stable=stable, name=name)
    return rated(plain, name, a=0.0)
