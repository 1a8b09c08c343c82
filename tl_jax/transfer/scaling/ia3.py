"""(IA)3: learned factors of keys, values and the MLP's hidden activations."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import chain
from tl_jax.tree import compile_rule, exactly, matches, node, sites, static
from tl_jax.types import Array, Key, Params, Plan, Transfer

WHERE = r"(.*/)?blocks/\d+/((attention|cross)/(key|value)|mlp/down)"
HIDDEN = r".*/mlp/down"


@node
class IA3:
    """(x W + b) scale, or (x scale) W + b. scale [O] or [I]."""

    rates: ClassVar[Mapping[str, float]] = {}
    scale: Array
    point: str = static("output")

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Scale each channel, in the value's dtype."""
        return (value * self.scale).astype(value.dtype)

    def fold(self, site: Params) -> Params:
        """The site with W scale and b scale, or scale W and b as it was."""
        if self.point == "input":
            return site | {"kernel": site["kernel"] * self.scale[..., :, None]}
        made = site | {"kernel": site["kernel"] * self.scale[..., None, :]}
        if "bias" in site:
            made["bias"] = site["bias"] * self.scale
        return made


def ia3(where: str = WHERE, *, hidden: str = HIDDEN, name: str = "ia3") -> Transfer:
    """Multiply keys, values and the MLP's hidden activations by learned vectors.

    k <- k l_k, v <- v l_v, down(h) <- down(h l_ff) (Liu et al., 2022). Ones at the
    start, so that the function is unchanged. `where` matches sites with a kernel;
    those that `hidden` matches, too, are scaled at their input [I], before the
    down-projection, the others at their output [O]: bias and all, as PEFT does by
    multiplying what its linear layer returns. The paper's layers have no biases.
    For BERT, PEFT's own table of targets takes the attention's output layer for a
    second MLP: `where=".*/(key|value|output|down)", hidden=".*/(output|down)"`. The
    base's rates are untouched: `freeze` them first.

    Raises `NoMatch` with the nearest sites, ValueError if `hidden` is no rule.
    """
    inside = compile_rule(hidden)

    def scaled(at: str, axis: int) -> Any:
        def make(key: Key, site: Params) -> IA3:
            return IA3(jnp.ones(site["kernel"].shape[axis]), at)

        return make

    def transfer(key: Key, plan: Plan) -> Plan:
        known = [p for p, site in sites(plan.params).items() if "kernel" in site]
        found = matches(where, known, f"{name}: where")
        inputs = [path for path in found if inside.fullmatch(path)]
        outputs = [path for path in found if path not in inputs]
        both = ((inputs, "input", -2), (outputs, "output", -1))
        grafts = [
            graft(exactly(paths), name, scaled(at, axis))
            for paths, at, axis in both
            if paths
        ]
        return chain(*grafts)(key, plan)

    return transfer
