"""Norms that differ by the inner step of a meta-learner."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import Fixed, Running
from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import freeze
from tl_jax.tree import matches, node, sites
from tl_jax.types import Array, Key, Params, Plan, Stats, Transfer


@node
class StepNorm:
    """y scale_i + bias_i. scale [S+1 D], bias [S+1 D], or [D] as one step sees them."""

    point: ClassVar[str] = "output"
    rates: ClassVar[Mapping[str, float]] = {}
    scale: Array
    bias: Array

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Row 0 where nobody says which step it is: none is done yet."""
        own = self if self.scale.ndim == 1 else self.at(0)
        return value * own.scale + own.bias

    def at(self, step: Array | int) -> "StepNorm":
        """As the network after `step` inner steps sees it; beyond S as after S."""
        row = jnp.minimum(step, len(self.scale) - 1)
        return dataclasses.replace(self, scale=self.scale[row], bias=self.bias[row])


def per_step_norms(
    steps: int, where: str = r"blocks/\d+/norm", name: str = "per_step"
) -> Transfer:
    """A scale and a bias for the norms after each number of inner steps, 0 to `steps`.

    (Antoniou et al., 2019.) Ones and zeros at the start, behind the norms' own, which
    are frozen. Statistics of the sites get a row [S+1 D] for each step as well: an
    inner loop needs both `view=at_step` and `stats_view=stats_at_step`. The paper moves
    none of this within a task: `freeze(".*/patch/per_step/.*")` in the inner plan.
    Raises `NoMatch` with the nearest sites, ValueError for no steps.
    """
    if steps < 1:
        raise ValueError(f"per_step_norms: steps is {steps}, expected 1 or more")

    def make(key: Key, site: Params) -> StepNorm:
        shape = (steps + 1, *site["scale"].shape)
        return StepNorm(jnp.ones(shape), jnp.zeros(shape))

    has = ("scale", "bias")

    def transfer(key: Key, plan: Plan) -> Plan:
        plan = graft(where, name, make, has=has)(key, plan)
        found = matches(where, sites(plan.params))
        plan = freeze("|".join(f"{path}/(scale|bias)" for path in found))(key, plan)
        rows = {at: _rows(plan.stats[at], steps) for at in found if at in plan.stats}
        return plan._replace(stats=plan.stats | rows)

    return transfer


def at_step(params: Params, step: Array | int) -> Params:
    """The parameters with every `StepNorm` as the step sees it: an inner `view`."""

    def view(leaf: Any) -> Any:
        return leaf.at(step) if isinstance(leaf, StepNorm) else leaf

    return jax.tree.map(view, params, is_leaf=lambda x: isinstance(x, StepNorm))


def stats_at_step(stats: Stats, step: Array | int) -> Stats:
    """The statistics with the step's row where there are rows: a `stats_view`."""

    def view(own: Running | Fixed) -> Running | Fixed:
        if own.mean.ndim == 1:
            return own
        row = jnp.minimum(step, len(own.mean) - 1)
        return type(own)(own.mean[row], own.var[row])

    return {site: view(own) for site, own in stats.items()}


def _rows(own: Running | Fixed, steps: int) -> Running | Fixed:
    return jax.tree.map(lambda x: jnp.stack([x] * (steps + 1)), own)
