"""Diff pruning: a change of the weights that learns to be sparse."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.transfer.graft import graft
from tl_jax.transfer.scaling.sparse import Sparse, check_share, largest_of
from tl_jax.tree import (
    compile_rule,
    drop,
    no_match,
    node,
    sites,
    unflatten,
)
from tl_jax.types import Array, Key, Params, Plan, Transfer

LOW, HIGH = -1.5, 1.5
"""Where the hard concrete distribution is cut: that of the paper's code."""


@node
class DiffPruning:
    """W + z delta, z the hard concrete gates of alpha. delta, alpha [I O].

    A `group` [] is one more gate for the whole kernel.
    """

    point: ClassVar[str] = "kernel"
    rates: ClassVar[Mapping[str, float]] = {}
    delta: Array
    alpha: Array
    group: Array | None = None

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Gates are drawn if there is a key."""
        return value + self.change(key).astype(value.dtype)

    def change(self, key: Key | None = None) -> Array:
        """z delta; without a key z is that of the distribution's middle."""
        own, whole = (None, None) if key is None else jax.random.split(key)
        z = gate(self.alpha, own)
        if self.group is not None:
            gap = self.alpha.ndim - self.group.ndim
            shared = gate(self.group, whole)
            z = z * shared.reshape(*shared.shape, *(1,) * gap)
        return z * self.delta

    def open(self) -> Array:
        """How many gates are expected to be above zero. -> []."""
        shift = jnp.log(-LOW / HIGH)
        chances = jax.nn.sigmoid(self.alpha - shift)
        if self.group is None:
            return chances.sum()
        of_group = jax.nn.sigmoid(self.group - shift)
        inner = tuple(range(self.group.ndim, self.alpha.ndim))
        return (of_group * chances.sum(inner)).sum()

    def fold(self, site: Params) -> Params:
        """The site with W + z delta, z without a draw."""
        return site | {"kernel": site["kernel"] + self.change()}


def gate(alpha: Array, key: Key | None) -> Array:
    """min(1, max(0, s (high - low) + low)), s a concrete draw or its middle.

    (Louizos et al., 2018), at temperature 1: s = sigmoid(log u - log(1 - u) + alpha).
    """
    noise = 0.0
    if key is not None:
        noise = jax.random.logistic(key, alpha.shape, alpha.dtype)
    s = jax.nn.sigmoid(noise + alpha)
    return jnp.clip(s * (HIGH - LOW) + LOW, 0.0, 1.0)


def diff_pruning(
    where: str, *, structured: bool = True, alpha: float = 5.0, name: str = "diff"
) -> Transfer:
    """Learn W + z delta beside matching kernels, with a price for each open gate.

    (Guo et al., 2021.) delta begins at zero, so that the function is unchanged, and
    gates at `alpha`, nearly always open; `structured` adds one gate for each kernel,
    z = z_kernel z_i. Add a multiple of `expected_l0(params)` to the loss, then
    `prune_diffs(share)` keeps what is large and goes on with those coordinates. While
    gates are learned the node is twice as large as the kernel. The paper also has
    vectors and embeddings; here those move by `rate`, or not. The base's rates are
    untouched: `freeze` them first.

    Raises `NoMatch` with the nearest sites, ValueError for a kernel that is quantised.
    """

    def make(key: Key, site: Params) -> DiffPruning:
        kernel = site["kernel"]
        if hasattr(kernel, "dequantise"):
            raise ValueError(
                f"{name}: {where!r} matches a quantised kernel, {type(kernel).__name__}"
                "; expected one of floats, which a diff is as large as"
            )
        group = jnp.float32(alpha) if structured else None
        return DiffPruning(
            jnp.zeros(kernel.shape), jnp.full(kernel.shape, alpha), group
        )

    return graft(where, name, make, has=("kernel",))


def expected_l0(params: Params) -> Array:
    """How many coordinates of all diffs are expected to be open. -> []."""
    total = jnp.float32(0)
    for site in sites(params).values():
        for own in site.get("patch", {}).values():
            if isinstance(own, DiffPruning):
                total += own.open()
    return total


def prune_diffs(share: float, which: str = ".*", *, name: str = "pruned") -> Transfer:
    """Keep the largest coordinates of all trained diffs, and nothing of the others.

    By |z delta|, the `share` of all coordinates of their kernels together (Guo et al.,
    2021, magnitude pruning to a fixed size). They go on moving, as a `Sparse` node at
    the root: indices and values alone. `which` matches names of patches.

    Raises ValueError for a share outside (0, 1], `NoMatch` without diffs.
    """
    check_share(share, name)
    rule = compile_rule(which)

    def transfer(key: Key, plan: Plan) -> Plan:
        params, rates = plan.params, plan.rates
        changes: dict[str, Array] = {}
        for path, site in sites(params).items():
            for patch, own in site.get("patch", {}).items():
                if isinstance(own, DiffPruning) and rule.fullmatch(patch):
                    at = f"{path}/kernel"
                    changes[at] = changes.get(at, 0.0) + own.change()
                    node_at = f"{path}/patch/{patch}"
                    params, rates = drop(params, node_at), drop(rates, node_at)
        if not changes:
            known = {n for s in sites(params).values() for n in s.get("patch", {})}
            raise no_match(f"{name}: diffs", which, known)
        sizes = {path: jnp.abs(own) for path, own in changes.items()}
        index = largest_of(sizes, share)
        values = {p: changes[p].reshape(-1)[own] for p, own in index.items()}
        kept = Sparse(unflatten(dict(index)), unflatten(values))
        plan = plan._replace(params=params, rates=rates)
        return graft("", name, lambda key, params: kept)(key, plan)

    return transfer
