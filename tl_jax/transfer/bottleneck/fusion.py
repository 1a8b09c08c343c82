"""AdapterFusion: attention over several frozen adapters."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn import dropout, normal, product
from tl_jax.transfer.bottleneck.adapter import BLOCKS, LAYERS, affine
from tl_jax.transfer.graft import graft
from tl_jax.tree import (
    exactly,
    get,
    matches,
    no_match,
    node,
    put,
    sites,
    static,
)
from tl_jax.types import Array, Key, Params, Plan, Transfer


@node
class Fusion:
    """y + sum_n p_n V a_n, p = softmax of (Q h + b) . (K a_n + c) over adapters.

    a_n is what adapter n would add, h what the last one reads. query, key {kernel
    [D D], bias [D]}, value {kernel [D D]} or None for V = 1.
    """

    rates: ClassVar[Mapping[str, float]] = {}
    query: Params
    key: Params
    value: Params | None
    keep: Array | None = None
    names: tuple[str, ...] = static(())
    point: str = static("mlp_sum")
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """Add the mixture of what its adapters, patches of the site, would add."""

        def acting(value: Array) -> Array:
            each = [site["patch"][name] for name in self.names]
            h = each[-1].source(value, x)
            added = [own.branch(own.source(value, x)) for own in each]
            return value + self.mixed(h, jnp.stack(added, -2), key).astype(value.dtype)

        if self.keep is None:
            return acting(value)
        return lax.cond(self.keep > 0, acting, lambda value: value, value)

    def mixed(self, h: Array, added: Array, key: Key | None) -> Array:
        """h [B T D], added [B T N D] -> [B T D]; the softmax in float32."""
        seen = product(added, self.key["kernel"]) + self.key["bias"]
        asked = affine(self.query, h).astype(seen.dtype)
        scores = jnp.einsum("btd,btnd->btn", asked, seen)
        shares = jax.nn.softmax(dropout(scores, self.rate, key), axis=-1)
        if self.value is not None:
            added = product(added, self.value["kernel"])
        return jnp.einsum("btn,btnd->btd", shares, added.astype(shares.dtype))


def adapter_fusion(
    names: Sequence[str],
    where: str = BLOCKS,
    *,
    value: bool = True,
    rate: float = 0.0,
    name: str = "fusion",
) -> Transfer:
    """Learn which of several trained adapters to use, token by token.

    (Pfeiffer et al., 2021.) `names` are those that adapters were grafted by: chain
    `pfeiffer(name="first"), pfeiffer(name="second"), adapter_fusion(("first",
    "second"))` and read their trained leaves into the plan. At each sum of a matching
    block that has them all they stop adding by themselves, and one patch
    `<name>_<layer>` adds their mixture; they stay where they are, at rate 0. Query and
    key begin at a normal of 0.02, the value at the identity, off its diagonal 1e-6;
    `value=False` has none. `rate` is the dropout of the scores, as AdapterHub's.
    The paper's penalty of the value is `fusion_penalty`.

    Raises ValueError for fewer than two names, and where a sum has only some of them or
    another fusion has one; `NoMatch` where it has none.
    """
    names = tuple(names)
    if isinstance(names, str) or len(set(names)) < 2:
        raise ValueError(f"{name}: names are {names}, expected two adapters or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        blocks = matches(where, sites(plan.params), f"{name}: where")
        places = [
            (layer, [p for p in blocks if holds(plan.params, p, names, layer)])
            for layer in LAYERS
        ]
        if not any(paths for _, paths in places):
            raise no_match(
                f"{name}: adapters", ", ".join(names), adapters(plan, blocks)
            )
        for layer, paths in places:
            if not paths:
                continue
            own = tuple(f"{n}_{layer}" for n in names)

            def make(key: Key, site: Params, layer=layer, own=own) -> Fusion:
                size = site[f"norm_{layer}"]["scale"].shape[-1]
                parts = begun(key, size, value)
                return Fusion(*parts, None, own, f"{layer}_sum", rate)

            at = exactly(paths)
            plan = graft(at, f"{name}_{layer}", make)(key, plan)
            plan = silenced(plan, [f"{p}/patch/{n}" for p in paths for n in own])
        return plan

    return transfer


def begun(key: Key, size: int, value: bool) -> tuple[Params, Params, Params | None]:
    """Query, key and value as they begin."""
    k_query, k_key = jax.random.split(key)
    query, asked = (
        {"kernel": normal(k, (size, size)), "bias": jnp.zeros(size)}
        for k in (k_query, k_key)
    )
    near = jnp.full((size, size), 1e-6)
    kernel = jnp.fill_diagonal(near, 1.0, inplace=False)
    return query, asked, {"kernel": kernel} if value else None


def holds(params: Params, block: str, names: tuple[str, ...], layer: str) -> bool:
    """Whether a sum has all the adapters; raises where it has some."""
    found = get(params, block).get("patch", {})
    have = [n for n in names if hasattr(found.get(f"{n}_{layer}"), "branch")]
    if have and len(have) < len(names):
        missing = ", ".join(sorted(set(names) - set(have)))
        raise ValueError(
            f"{block}: {layer} has an adapter {', '.join(have)}, but none of {missing}"
        )
    for n in have:
        if found[f"{n}_{layer}"].fused:
            raise ValueError(
                f"'{block}/patch/{n}_{layer}' is fused already: an adapter is part of "
                "one fusion"
            )
    return bool(have)


def adapters(plan: Plan, blocks: Sequence[str]) -> set[str]:
    """The names of what could be fused there."""
    found = (get(plan.params, block).get("patch", {}) for block in blocks)
    return {
        name.rpartition("_")[0]
        for patches in found
        for name, own in patches.items()
        if hasattr(own, "branch")
    }


def silenced(plan: Plan, paths: Sequence[str]) -> Plan:
    """The adapters at these paths marked as fused, and frozen."""
    params, rates = plan.params, plan.rates
    for path in paths:
        site, _, patch = path.rpartition("/patch/")
        own, pace = (get(tree, site)["patch"][patch] for tree in (params, rates))
        params = put(params, path, dataclasses.replace(own, fused=True))
        still = jax.tree.map(lambda _: 0.0, dataclasses.replace(pace, fused=True))
        rates = put(rates, path, still)
    return plan._replace(params=params, rates=rates)


def fusion_penalty(params: Params, weight: float = 0.01) -> Array:
    """`weight` times the squared distance of all values from the identity. -> []."""
    total = jnp.float32(0)
    for site in sites(params).values():
        for own in site.get("patch", {}).values():
            if isinstance(own, Fusion) and own.value is not None:
                kernel = own.value["kernel"]
                total += jnp.square(kernel - jnp.eye(kernel.shape[-1])).sum()
    return weight * total
