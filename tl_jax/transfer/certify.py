"""Folding with a certificate: what it costs, and the way back."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.transfer.fold import fold
from tl_jax.tree import flatten
from tl_jax.types import Array, Outputs, Plan


class Certificate(NamedTuple):
    """Differences between a folded model's outputs and the patched one's."""

    largest: float
    """max |y - y'| over all numbers of the outputs of a probe batch."""
    mean: float
    scale: float
    """max |y|: `largest / scale` is the relative error."""
    dtype: str
    """What the folded kernels are kept in."""
    examples: int

    @property
    def relative(self) -> float:
        """The largest difference over the largest output."""
        return self.largest / max(self.scale, 1e-30)


class Folded(NamedTuple):
    """A folded plan, what the folding cost, and what it took the place of."""

    plan: Plan
    certificate: Certificate
    original: Plan
    """The plan before, its arrays themselves: no copy of what did not change."""


def certified_fold(
    apply: Callable, plan: Plan, probe: dict[str, Any], *, dtype: Any = None
) -> Folded:
    """`fold`, with the error that it makes on a batch of inputs, `probe`.

    `apply` is a model's, compiled where that is worth it.

    W' = cast(float32(W) + delta): sums are in float32 and rounded once, to `dtype`, by
    default each kernel's own. The certificate compares the outputs (logits where there
    are any, else features) of the patched model and of the folded one. `unfold` goes
    back: subtracting delta from W' would not, as W' is rounded.

    Raises ValueError where nothing can be folded, and where a difference is not finite.
    """
    wide = _widened(plan)
    folded = _rounded(plan, wide, fold(wide), dtype)
    if jax.tree.structure(folded.params) == jax.tree.structure(plan.params):
        raise ValueError("certified_fold: the plan has no patch that can be folded")
    before, after = (
        _seen(apply(params, plan.stats, probe)[0])
        for params in (plan.params, folded.params)
    )
    gap = jnp.abs(before - after)
    names = {str(jnp.dtype(dtype))} if dtype is not None else _changed(plan, folded)
    found = Certificate(
        largest=float(gap.max()),
        mean=float(gap.mean()),
        scale=float(jnp.abs(before).max()),
        dtype=", ".join(sorted(names)),
        examples=len(before),
    )
    if not jnp.isfinite(gap).all():
        raise ValueError(f"certified_fold: outputs are not finite: {found}")
    return Folded(folded, found, plan)


def unfold(folded: Folded) -> Plan:
    """The plan as it was: patches, rates, and every byte of the base."""
    return folded.original


def _seen(outputs: Outputs) -> Array:
    return outputs.features if outputs.logits is None else outputs.logits


def _widened(plan: Plan) -> Plan:
    """The plan with leaves of half precision in float32."""

    def widen(leaf: Array) -> Array:
        short = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
        return leaf.astype(jnp.float32) if short else leaf

    return plan._replace(params=jax.tree.map(widen, plan.params))


def _rounded(plan: Plan, widened: Plan, folded: Plan, dtype: Any) -> Plan:
    """Kernels that changed in `dtype`, all other leaves as they were."""
    before, wide = flatten(plan.params), flatten(widened.params)

    def settle(path: str, leaf: Array) -> Array:
        if path in before and leaf is wide[path]:
            return before[path]
        own = before[path].dtype if path in before else leaf.dtype
        return leaf.astype(own if dtype is None else dtype)

    leaves = [settle(path, leaf) for path, leaf in flatten(folded.params).items()]
    tree = jax.tree.structure(folded.params)
    return folded._replace(params=jax.tree.unflatten(tree, leaves))


def _changed(plan: Plan, folded: Plan) -> set[str]:
    """The dtypes of the leaves that folding made."""
    before = flatten(plan.params)
    after = flatten(folded.params)
    return {
        str(leaf.dtype)
        for path, leaf in after.items()
        if path not in before or leaf is not before[path]
    }
