"""Many adapters served at once: each example of a batch names its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.transfer.padding import pad_ranks
from tl_jax.transfer.plan import full
from tl_jax.tree import diff, drop, get, node, put, sites, static
from tl_jax.types import Array, Key, Params

POINTS = ("input", "product", "output", "branch", "kv")
"""Where a patch maps each example by itself."""


@node
class Bank:
    """The patches of N adapters, of which each example has one. ids [B].

    patches is one node whose leaves are [N ...]: of LoRAs a [N I r], b [N r O], scale
    [N], padded to the largest rank; of (IA)3 scale [N O].
    """

    rates: ClassVar[Mapping[str, float]] = {"patches": 0.0, "ids": 0.0}
    patches: Any
    ids: Array | None = None
    point: str = static("product")

    def __call__(
        self, site: Params, value: Any, *, x: Any = None, key: Key | None = None
    ) -> Any:
        """Gather each example's patch and apply it to that example, without dropout."""
        if self.ids is None:
            raise ValueError("a bank of adapters needs route(params, ids) first")
        rows = len(jax.tree.leaves(value)[0])
        if self.ids.shape != (rows,):
            raise ValueError(f"ids are {list(self.ids.shape)}, expected [{rows}]")
        own = jax.tree.map(lambda leaf: leaf[self.ids], self.patches)

        def one(patch: Any, value: Any, x: Any) -> Any:
            alone = jax.tree.map(lambda leaf: leaf[None], (value, x))
            made = patch(site, alone[0], x=alone[1], key=None)
            return jax.tree.map(lambda leaf: leaf[0], made)

        return jax.vmap(one)(own, value, x)


def bank(adapters: Sequence[Params]) -> Params:
    """One tree of parameters that serves N adapters of one base.

    `adapters` are trees that differ in their patches alone, with the same ones at the
    same sites; ranks may differ (`pad_ranks`). `route` says whose example is whose.

    Raises ValueError with the path where anything else differs, and for patches that
    do not map examples one by one (prompts, patches of kernels); `NoMatch` for a patch
    that an adapter lacks.
    """
    if not adapters:
        raise ValueError("bank: there are no adapters, expected one or more")
    rows = [plan.params for plan in pad_ranks([full(own) for own in adapters])]
    bases = [_without_patches(own) for own in rows]
    for number, own in enumerate(bases[1:], 1):
        if odd := list(diff(own, bases[0])) + list(diff(bases[0], own)):
            raise ValueError(
                f"adapter {number} differs from adapter 0 at {odd[0]!r}, which is no "
                "patch: adapters of a bank share their base"
            )
    made = rows[0]
    for path, site in sites(made).items():
        for name in site.get("patch", {}):
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            made = put(made, at, _bank_of([get(own, at) for own in rows], at))
    return made


def route(params: Params, ids: Array) -> Params:
    """`bank`'s parameters for a batch whose example i has the adapter `ids[i]`.

    ids [B], whole numbers from 0, may be traced: shapes are what a program depends on.
    Raises ValueError for ids that are no whole numbers, or where there is no bank.
    """
    if not jnp.issubdtype(ids.dtype, jnp.integer) or ids.ndim != 1:
        raise ValueError(f"ids are {ids.dtype}{list(ids.shape)}, expected integers [B]")

    def is_bank(leaf: Any) -> bool:
        return isinstance(leaf, Bank)

    def routed(leaf: Any) -> Any:
        return dataclasses.replace(leaf, ids=ids) if is_bank(leaf) else leaf

    if not any(map(is_bank, jax.tree.leaves(params, is_leaf=is_bank))):
        raise ValueError("route: the parameters hold no bank of adapters")
    return jax.tree.map(routed, params, is_leaf=is_bank)


def _bank_of(patches: list[Any], at: str) -> Bank:
    first = patches[0]
    if first.point not in POINTS:
        raise ValueError(
            f"{at!r}, a {type(first).__name__} at {first.point!r}, does not map "
            f"examples one by one; a bank serves {', '.join(POINTS)}"
        )
    if any(jax.tree.structure(own) != jax.tree.structure(first) for own in patches):
        raise ValueError(
            f"{at!r} has other static fields in one adapter than in another"
        )
    return Bank(jax.tree.map(lambda *x: jnp.stack(x), *patches), None, first.point)


def _without_patches(params: Params) -> Params:
    for path, site in sites(params).items():
        if "patch" in site:
            params = drop(params, f"{path}/patch" if path else "patch")
    return params
