"""Low-rank adaptation."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import dropout, thin_product
from tl_jax.transfer.graft import graft
from tl_jax.tree import node, static
from tl_jax.types import Array, Key, Params, Transfer


@node
class LoRA:
    """x W + scale (x a) b. a [I r], b [r O], scale []."""

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    ranks: ClassVar[Mapping[str, int]] = {"a": -1, "b": -2}
    a: Array
    b: Array
    scale: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the low-rank product; dropout acts on this branch alone."""
        low = thin_product(dropout(x, self.rate, key), self.a).astype(x.dtype)
        return value + thin_product(low, self.scale * self.b)

    def fold(self, site: Params) -> Params:
        """The site with W + scale a b for a kernel."""
        delta = jnp.einsum("...ir,...ro->...io", self.a, self.b)
        scale = self.scale[..., None, None]
        return site | {"kernel": site["kernel"] + scale * delta}


def lora(
    rank: int, where: str, alpha: float = 8.0, *, rate: float = 0.0, name: str = "lora"
) -> Transfer:
    """Add a trainable rank-`rank` product beside every matching kernel.

    y = x W + (alpha / rank) (x a) b, with b zero at the start, so that the function
    is unchanged (Hu et al., 2021). `where` matches sites that hold a kernel; `rate`
    is the dropout of the branch. The base's rates are untouched: `freeze` them first.

    Raises ValueError for a rank below 1 or above what the kernel can have.
    """
    if rank < 1:
        raise ValueError(f"lora: rank is {rank}, expected at least 1")

    def make(key: Key, site: Params) -> LoRA:
        shape = site["kernel"].shape
        if len(shape) != 2 or rank > min(shape):
            raise ValueError(
                f"lora: rank {rank} does not fit a kernel of shape {shape}; expected "
                "two axes, each at least as long as the rank"
            )
        a = jax.random.normal(key, (shape[0], rank)) / shape[0] ** 0.5
        b = jnp.zeros((rank, shape[1]))
        return LoRA(a, b, jnp.float32(alpha / rank), rate)

    return graft(where, name, make, has=("kernel",))
