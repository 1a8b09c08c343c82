"""Compacter: adapters whose kernels are sums of Kronecker products."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import normal
from tl_jax.transfer.bottleneck.adapter import (
    BLOCKS,
    LAYERS,
    Activation,
    Adapter,
    Order,
    at_blocks,
    check_adapter,
)
from tl_jax.transfer.graft import graft
from tl_jax.tree import node, put, sites, static
from tl_jax.types import Array, Key, Params, Plan, Transfer


@node
class Compacter:
    """An adapter with kernels sum_n rule_n (x) left_n right_n.

    down {left [n I/n k], right [n k r/n], bias [r]}, up the same from r to O. The rule
    [n n n] comes from the root, `keep` [] is whether it acts at all.
    """

    rates: ClassVar[Mapping[str, float]] = {}
    down: Params
    up: Params
    rule: Array | None = None
    keep: Array | None = None
    point: str = static("mlp_sum")
    reads: str = static("branch")
    order: str = static("post")
    activation: Activation = static("gelu")
    rate: float = static(0.0)
    fused: bool = static(False)

    def __call__(self, site: Params, value: Array, *, x: Any, key: Key | None) -> Array:
        """As the adapter with these kernels."""
        return self.dense()(site, value, x=x, key=key)

    def dense(self) -> Adapter:
        """The adapter whose kernels are written out."""
        if self.rule is None:
            raise ValueError("a Compacter reads the rule of its node at the root")
        down, up = (
            {"kernel": kronecker(self.rule, part), "bias": part["bias"]}
            for part in (self.down, self.up)
        )
        kind = (self.point, self.reads, self.order, self.activation, self.rate)
        return Adapter(down, up, jnp.float32(1), self.keep, *kind, self.fused)

    def source(self, value: Array, x: Any) -> Array:
        """What it reads."""
        return Adapter.source(self, value, x)

    def branch(self, h: Array) -> Array:
        """What it adds."""
        return self.dense().branch(h)


@node
class CompacterRule:
    """The rule that all Compacters of one name share. rule [n n n]."""

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {}
    rule: Array
    name: str = static("compacter")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("a shared rule acts through expand(params)")

    def expand(self, params: Params) -> Params:
        """The rule at each of them; one a block where blocks are stacked."""
        mine = {f"{self.name}_{layer}" for layer in LAYERS}
        for path, site in sites(params).items():
            for name, own in site.get("patch", {}).items():
                if isinstance(own, Compacter) and name in mine:
                    lead = own.down["left"].shape[:-3]
                    rule = jnp.broadcast_to(self.rule, (*lead, *self.rule.shape))
                    own = dataclasses.replace(own, rule=rule)
                    params = put(params, f"{path}/patch/{name}", own)
        return params


def kronecker(rule: Array, part: Params) -> Array:
    """sum_n rule_n (x) left_n right_n. rule [n a b], left [n c k] -> [a c, b d]."""
    small = jnp.einsum("nck,nkd->ncd", part["left"], part["right"])
    made = jnp.einsum("nab,ncd->acbd", rule, small)
    (_, a, b), (_, c, d) = rule.shape, small.shape
    return made.reshape(a * c, b * d)


def compacter(
    reduction: float = 32.0,
    where: str = BLOCKS,
    *,
    plus: bool = False,
    parts: int = 4,
    rank: int = 1,
    width: int | None = None,
    activation: Activation = "gelu",
    rate: float = 0.0,
    order: Order | None = None,
    name: str = "compacter",
) -> Transfer:
    """Houlsby's adapters of few numbers (Mahabadi et al., 2021).

    Both kernels of every adapter are sum_n A_n (x) s_n t_n with n = `parts` rules A_n
    that all share, at the root, and s_n t_n of `rank`; biases are plain. `plus` is
    Compacter++: behind the MLP alone, reading the block's result as `pfeiffer` does,
    AdapterHub's choice. Rules begin at a normal of 1e-4, as AdapterHub's, so that the
    function is unchanged to rounding. Other arguments are those of `adapter`.

    Raises ValueError where `parts` doesn't divide D or the width.
    """
    reads = "sum" if plus else "branch"
    check_adapter(reduction, width, reads, order, activation, 1.0, "bert")
    if parts < 1 or rank < 1:
        raise ValueError(f"{name}: parts is {parts}, rank {rank}, expected 1 or more")

    def make_at(layer: str, known: Order) -> Callable[[Key, Params], Compacter]:
        def make(key: Key, site: Params) -> Compacter:
            size = site[f"norm_{layer}"]["scale"].shape[-1]
            small = width or max(int(size // reduction), 1)
            if size % parts or small % parts:
                raise ValueError(
                    f"{name}: {size} and {small} channels, expected multiples of "
                    f"parts, {parts}: choose parts, reduction or width"
                )
            k_down, k_up = jax.random.split(key)
            down = factors(k_down, size, small, parts, rank)
            up = factors(k_up, small, size, parts, rank)
            kind = (f"{layer}_sum", reads, known, activation, rate)
            return Compacter(down, up, None, None, *kind)

        return make

    def make_rule(key: Key, params: Params) -> CompacterRule:
        return CompacterRule(normal(key, (parts, parts, parts), 1e-4), name)

    layers = ("mlp",) if plus else ("attention", "mlp")
    patches = at_blocks(where, layers, name, make_at, order)

    def transfer(key: Key, plan: Plan) -> Plan:
        return graft("", name, make_rule)(key, patches(key, plan))

    return transfer


def factors(key: Key, wide: int, out: int, parts: int, rank: int) -> Params:
    """left [n I/n k] and right [n k O/n] of Glorot's normal, and a bias of zeros."""
    k_left, k_right = jax.random.split(key)
    a, b = wide // parts, out // parts
    return {
        "left": normal(k_left, (parts, a, rank), (2 / (a + rank)) ** 0.5),
        "right": normal(k_right, (parts, rank, b), (2 / (b + rank)) ** 0.5),
        "bias": jnp.zeros(out),
    }
