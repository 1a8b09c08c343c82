"""Low-rank adaptation in the form of singular values, which compete for a budget."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight, dropout, thin_product
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import check_fit, check_rank, low_rank, shape_of
from tl_jax.tree import node, sites, static
from tl_jax.types import Array, Key, Params, Transfer

STD = 0.02
EPSILON = 1e-5


@node
class AdaLoRA:
    """x W + scale (x p) diag(e) q. p [I r], e [r], q [r O], scale []."""

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {"scale": 0.0}
    p: Array
    e: Array
    q: Array
    scale: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the product; dropout acts on this branch alone."""
        low = thin_product(dropout(x, self.rate, key), self.p).astype(x.dtype)
        return value + thin_product(low, self.scale * self.e[:, None] * self.q)

    def fold(self, site: Params) -> Params:
        """The site with W + scale p diag(e) q for a kernel."""
        delta = low_rank(self.p, self.e[..., None] * self.q, self.scale)
        return site | {"kernel": base_weight(site) + delta}


def adalora(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    name: str = "adalora",
) -> Transfer:
    """LoRA as p diag(e) q, of which `rank_budget` keeps what matters most.

    y = x W + s (x p) diag(e) q, with e zero at the start, so that the function is
    unchanged (Zhang et al., 2023). `rank` is the one to begin with, about 1.5 times
    the average that stays. `orthogonality` is the penalty that keeps p and q apart;
    p and q are normal with deviation 0.02 and s = alpha / (rank + 1e-5), as in PEFT:
    the scale stays that of the first rank.

    `where` matches dense sites. Raises ValueError for a rank that does not fit.
    """
    check_rank(name, rank)

    def make(key: Key, site: Params) -> AdaLoRA:
        shape = shape_of(site)
        check_fit(name, rank, shape, (2,))
        k_p, k_q = jax.random.split(key)
        p = STD * jax.random.normal(k_p, (shape[0], rank))
        q = STD * jax.random.normal(k_q, (rank, shape[1]))
        scale = jnp.float32(alpha / (rank + EPSILON))
        return AdaLoRA(p, jnp.zeros(rank), q, scale, rate)

    return graft(where, name, make, has=("kernel",))


def orthogonality(params: Params, *, squared: bool = False) -> Array:
    """How far p^T p and q q^T of all AdaLoRA patches are from identities. [].

    The mean over these matrices of |p^T p - I|, Frobenius' norm, which PEFT adds to
    the loss 0.5 times; the paper has the sum of its squares: `squared`, a mean here
    too. 0 without such patches.
    """
    grams = []
    for site in sites(params).values():
        for own in site.get("patch", {}).values():
            if isinstance(own, AdaLoRA):
                grams.append(jnp.einsum("...ir,...is->...rs", own.p, own.p))
                grams.append(jnp.einsum("...ro,...so->...rs", own.q, own.q))
    if not grams:
        return jnp.float32(0)
    squares = [jnp.square(g - jnp.eye(g.shape[-1])).sum((-2, -1)) for g in grams]
    every = jnp.concatenate([jnp.ravel(s) for s in squares])
    if squared:
        return every.mean()
    # The root's slope at 0 is infinite; torch's norm has 0 there, and so has this.
    return jnp.where(every > 0, jnp.sqrt(jnp.where(every > 0, every, 1)), 0).mean()
