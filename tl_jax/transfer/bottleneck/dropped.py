"""AdapterDrop: no adapters in the lower blocks."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn.block import block_range
from tl_jax.transfer.graft import graft
from tl_jax.tree import compile_rule, drop, matches, node, put, sites, static
from tl_jax.types import Array, Key, Params, Plan, Transfer

BLOCK = re.compile(r"(?:.*/)?blocks/([0-9]+(?:-[0-9]+)?)")


@node
class AdapterDrop:
    """Adapters of blocks below `count` [] don't act; in training it is drawn."""

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {"count": 0.0}
    count: Array
    most: int = static()
    which: str = static(".*")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("dropped adapters act through expand(params)")

    def sampled(self, key: Key) -> "AdapterDrop":
        """With a count of 0 to `most`, each as likely."""
        count = jax.random.randint(key, (), 0, self.most + 1)
        return dataclasses.replace(self, count=count.astype(self.count.dtype))

    def expand(self, params: Params) -> Params:
        """Every adapter told whether it acts, a number a block where stacked."""
        for path, name, own in found(params, self.which):
            numbers = block_range(BLOCK.fullmatch(path)[1])
            shown = jnp.asarray(numbers if len(numbers) > 1 else numbers.start)
            keep = (shown >= self.count).astype(jnp.float32)
            own = dataclasses.replace(own, keep=keep)
            params = put(params, f"{path}/patch/{name}", own)
        return params


def found(params: Params, which: str) -> Iterator[tuple[str, str, Any]]:
    """(block, name, node) of the patches there that can be told not to act."""
    rule = compile_rule(which)
    for path, site in sites(params).items():
        if BLOCK.fullmatch(path):
            for name, own in site.get("patch", {}).items():
                if hasattr(own, "keep") and rule.fullmatch(name):
                    yield path, name, own


def adapter_drop(
    most: int, which: str = ".*", *, count: int = 0, name: str = "adapter_drop"
) -> Transfer:
    """Let lower blocks go without their adapters (Rücklé et al., 2021).

    Each step of training draws n of 0 to `most`, for the whole batch, and adapters of
    blocks 0 to n - 1 don't act: one program for all n, and nothing is computed where
    they don't. Without a key they rest below `count`, a leaf at rate 0 that may be set
    on a trained model. `which` matches names of patches, such as `houlsby_mlp`, that
    were grafted before; blocks of encoder and decoder count each from 0.
    `drop_adapters` removes them for good.

    Raises ValueError for a number below 0 or above the depth, `NoMatch` without
    adapters of that name.
    """

    def make(key: Key, params: Params) -> AdapterDrop:
        depth = check_dropped(params, which, name)
        if not 0 <= most <= depth or not 0 <= count <= depth:
            raise ValueError(
                f"{name}: most is {most}, count {count}, expected 0 to {depth}, the "
                "number of blocks"
            )
        return AdapterDrop(jnp.float32(count), most, which)

    return graft("", name, make)


def drop_adapters(count: int, which: str = ".*") -> Transfer:
    """Remove the adapters of the lowest `count` blocks (Rücklé et al., 2021).

    What is left computes, saves and trains less. `which` matches names of patches. Of
    fused adapters remove `fusion_.*`, too. Raises as `adapter_drop`.
    """

    def transfer(key: Key, plan: Plan) -> Plan:
        depth = check_dropped(plan.params, which, "drop_adapters")
        if not 0 <= count <= depth:
            raise ValueError(
                f"drop_adapters: count is {count}, expected 0 to {depth}, the number "
                "of blocks"
            )
        params, rates = plan.params, plan.rates
        for path, name, _ in found(params, which):
            if block_range(BLOCK.fullmatch(path)[1]).start < count:
                at = f"{path}/patch/{name}"
                params, rates = drop(params, at), drop(rates, at)
        return plan._replace(params=params, rates=rates)

    return transfer


def check_dropped(params: Params, which: str, name: str) -> int:
    """The depth; raises without adapters whose names match."""
    known = {patch for _, patch, _ in found(params, ".*")}
    matches(which, known, f"{name}: adapters")
    blocks = [m[1] for path in sites(params) if (m := BLOCK.fullmatch(path))]
    return max(block_range(b).stop for b in blocks)
