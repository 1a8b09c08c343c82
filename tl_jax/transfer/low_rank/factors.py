"""What low-rank methods share: shapes, products of factors, rates of their own."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight
from tl_jax.tree import get, put, sites
from tl_jax.types import Array, Key, Params, Plan, Transfer


def shape_of(site: Params, leaf: str = "kernel") -> tuple[int, ...]:
    """The shape of a site's kernel or table, whatever its type."""
    own = {leaf: site[leaf]}
    return jax.eval_shape(lambda own: base_weight(own, leaf), own).shape


def check_rank(method: str, rank: int) -> None:
    """Raise ValueError for a rank below 1."""
    if rank < 1:
        raise ValueError(f"{method}: rank is {rank}, expected at least 1")


def check_fit(
    method: str,
    rank: int,
    shape: Sequence[int],
    axes: Sequence[int] = (2, 4),
    *,
    thin: bool = True,
) -> None:
    """Raise ValueError where no product of this rank stands beside such a kernel.

    `thin`: the rank is at most the shorter side of the kernel as a matrix, whose rows
    are all axes but the last.
    """
    words = {2: "two (dense)", 3: "three", 4: "four (convolution)"}
    if len(shape) not in axes:
        wanted = " or ".join(words[n] for n in axes)
        raise ValueError(
            f"{method}: a kernel of shape {tuple(shape)} has {len(shape)} axes, "
            f"expected {wanted}; stacked blocks are grafted before stack_layers"
        )
    rows = 1
    for size in shape[:-1]:
        rows *= size
    if thin and rank > min(rows, shape[-1]):
        raise ValueError(
            f"{method}: rank {rank} does not fit a kernel of shape {tuple(shape)}; "
            f"expected at most {min(rows, shape[-1])}"
        )


def scale_of(alpha: float, rank: int, stable: bool) -> Array:
    """alpha / r, or alpha / sqrt(r) where the scale is rank-stable. []."""
    return jnp.float32(alpha / (rank**0.5 if stable else rank))


def spread(scale: Array, like: Array) -> Array:
    """A scalar, or one a stacked layer, with axes of 1 behind it as `like` has."""
    return scale.reshape(*scale.shape, *(1,) * (like.ndim - scale.ndim))


def low_rank(a: Array, b: Array, scale: Array) -> Array:
    """scale a b. a [... I r], a convolution's [h w I r], b [... r O] -> a kernel.

    The leading axes of b, of stacked layers, lead in a and scale too.
    """
    rows = a.reshape(*b.shape[:-2], -1, a.shape[-1])
    made = jnp.matmul(rows, b, precision="highest")
    return spread(scale, a) * made.reshape(*a.shape[:-1], b.shape[-1])


def uniform(key: Key, shape: Sequence[int], fan_in: int) -> Array:
    """Even values in +-1/sqrt(fan_in): Kaiming's of slope sqrt(5), torch's default."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, tuple(shape), minval=-bound, maxval=bound)


def fresh(old: Params, new: Params, name: str) -> list[str]:
    """Paths of the sites that have a patch `name` in `new` alone."""
    before = sites(old)
    return [
        path
        for path, site in sites(new).items()
        if name in site.get("patch", {}) and name not in before[path].get("patch", {})
    ]


def rated(transfer: Transfer, name: str, **fields: float) -> Transfer:
    """`transfer`, with these rates for fields of the patches that it adds."""

    def changed(key: Key, plan: Plan) -> Plan:
        new = transfer(key, plan)
        rates = new.rates
        for path in fresh(plan.params, new.params, name):
            at = under(path, f"patch/{name}")
            rates = put(rates, at, dataclasses.replace(get(rates, at), **fields))
        return new._replace(rates=rates)

    return changed


def under(path: str, name: str) -> str:
    """What is called `name` in the site at `path`."""
    return f"{path}/{name}" if path else name
