"""A classifier by direction: features of length 1 over a temperature."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tl_jax.losses.similarity import unit
from tl_jax.transfer.graft import graft
from tl_jax.tree import drop, node, sites, static
from tl_jax.types import Array, Key, Params, Plan, Transfer


@node
class Direction:
    """x / (|x| temperature) at a layer's input. x [... D]."""

    rates: ClassVar[Mapping[str, float]] = {}
    temperature: float = static()
    point: str = static("input")

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """The direction in the value's dtype; 0 for 0."""
        return (unit(value) / self.temperature).astype(value.dtype)


def cosine_head(
    temperature: float = 0.05, *, where: str = "head", name: str = "direction"
) -> Transfer:
    """Make a linear head one of directions: w_c f / (|f| temperature).

    (Saito et al., 2019). Its bias goes; the kernel's columns are prototypes of any
    length. Raises `NoMatch` for a head that is not there, ValueError unless the
    temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"cosine_head: temperature is {temperature}, expected above 0")

    def transfer(key: Key, plan: Plan) -> Plan:
        make = graft(where, name, lambda key, site: Direction(temperature))
        params, rates = plan.params, plan.rates
        if "bias" in sites(params).get(where, {}):
            params, rates = (drop(tree, f"{where}/bias") for tree in (params, rates))
        return make(key, plan._replace(params=params, rates=rates))

    return transfer
