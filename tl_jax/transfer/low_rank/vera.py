"""One pair of random matrices for all layers, and two vectors for each."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import base_weight, dropout, thin_product
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    low_rank,
    shape_of,
    under,
)
from tl_jax.transfer.plan import chain
from tl_jax.tree import get, matches, node, put, sites, stable_key, static
from tl_jax.types import Array, Key, Params, Plan, Transfer


@node
class VeRA:
    """A site's vectors, d [r] and b [O]; the matrices are `Projections` at the root."""

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {}
    d: Array
    b: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Meaningless without the shared matrices."""
        raise TypeError(
            "a VeRA patch needs the matrices at the root: nn.expand(params) joins them"
        )


@node
class Projected:
    """x W + ((x A) d) B b. shared_a [I r], shared_b [r O], d [r], b [O]."""

    point: ClassVar[str] = "product"
    rates: ClassVar[Mapping[str, float]] = {"shared_a": 0.0, "shared_b": 0.0}
    shared_a: Array
    shared_b: Array
    d: Array
    b: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the product; dropout acts on this branch alone."""
        low = thin_product(dropout(x, self.rate, key), self.shared_a)
        low = (low * self.d).astype(x.dtype)
        return value + thin_product(low, self.shared_b) * self.b

    def fold(self, site: Params) -> Params:
        """The site with W + A diag(d) B diag(b) for a kernel."""
        right = self.d[..., None] * self.shared_b * self.b[..., None, :]
        return site | {
            "kernel": base_weight(site) + low_rank(self.shared_a, right, jnp.ones(()))
        }


@node
class Projections:
    """The matrices of all VeRA patches of one name. a [I r], b [r O], both frozen.

    I and O are the largest of any site; a site reads the first rows of a and the
    first columns of b that it needs.
    """

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {"a": 0.0, "b": 0.0}
    a: Array
    b: Array
    name: str = static("vera")
    seed: int = static(0)

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("the matrices of VeRA act through expand(params)")

    def expand(self, params: Params) -> Params:
        """The matrices' parts beside the vectors of each site."""
        for path, site in sites(params).items():
            own = site.get("patch", {}).get(self.name)
            if isinstance(own, VeRA):
                at = under(path, f"patch/{self.name}")
                rows, columns = shape_of(site)[-2], own.b.shape[-1]
                lead = own.d.shape[:-1]  # of stacked blocks: each gets its own copy
                a, b = self.a[:rows], self.b[:, :columns]
                a, b = (jnp.broadcast_to(m, (*lead, *m.shape)) for m in (a, b))
                params = put(params, at, Projected(a, b, own.d, own.b, own.rate))
        return params


def vera(
    rank: int,
    where: str,
    *,
    start: float = 0.1,
    rate: float = 0.0,
    seed: int = 0,
    name: str = "vera",
) -> Transfer:
    """Scale random matrices that all layers share, by two vectors a layer.

    y = x W + ((x A) d) B b, with A [I r] and B [r O] random, frozen and the same for
    all sites; d is `start` and b zero at the start, so that the function is unchanged
    (Kopiczko et al., 2023). `rate` is the branch's dropout.

    A and B are Kaiming's even values, drawn from `seed` and `name` alone, whatever the
    plan's key: with its seed an adapter is its vectors. They are leaves of rate 0 at
    the root all the same, so that a checkpoint holds them. As in PEFT they have the
    sizes of the largest site, and others read a part of them; the paper has one pair
    for each shape.

    `where` matches dense sites of any shapes. Raises ValueError for a rank below 1.
    """
    check_rank(name, rank)

    def make(key: Key, site: Params) -> VeRA:
        shape = shape_of(site)
        check_fit(name, rank, shape, (2,), thin=False)
        return VeRA(jnp.full(rank, float(start)), jnp.zeros(shape[1]), rate)

    def make_root(key: Key, params: Params) -> Projections:
        known = [path for path, site in sites(params).items() if "kernel" in site]
        found = matches(where, known, f"{name}: where")
        shapes = [shape_of(get(params, path)) for path in found]
        rows, columns = (max(shape[i] for shape in shapes) for i in (0, -1))
        k_a, k_b = jax.random.split(stable_key(jax.random.key(seed), name))
        a = kaiming(k_a, (rows, rank), rows)
        return Projections(a, kaiming(k_b, (rank, columns), rank), name, seed)

    return chain(graft(where, name, make, has=("kernel",)), graft("", name, make_root))


def kaiming(key: Key, shape: tuple[int, ...], fan_in: int) -> Array:
    """Even values in +-sqrt(6 / fan_in) (He et al., 2015)."""
    bound = (6 / fan_in) ** 0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def with_projections(plan: Plan, a: Array, b: Array, name: str = "vera") -> Plan:
    """The plan with given shared matrices: those of an adapter trained elsewhere.

    Raises ValueError for shapes that are not those that are there.
    """
    own = plan.params["patch"][name]
    for field, new in (("a", a), ("b", b)):
        if jnp.shape(new) != getattr(own, field).shape:
            raise ValueError(
                f"{name}: {field} is {list(jnp.shape(new))}, "
                f"expected {list(getattr(own, field).shape)}"
            )
    made = dataclasses.replace(own, a=jnp.asarray(a), b=jnp.asarray(b))
    return plan._replace(params=put(plan.params, f"patch/{name}", made))
