"""A classifier by direction: features of length 1 over a temperature."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tl_jax.losses.similarity import unit
from tl_jax.transfer.graft import graft
from tl_jax.transfer.surgery import new_head
from tl_jax.tree import drop, node, static
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
    outputs: int,
    width: int,
    temperature: float = 0.05,
    *,
    where: str = "head",
    std: float = 0.02,
    name: str = "direction",
) -> Transfer:
    """A fresh head whose logits are w_c f / (|f| temperature) (Saito et al., 2019).

    Without a bias; the kernel's columns are prototypes of any length. It takes the
    place of a head that is there. Raises ValueError unless the temperature is above 0.
    """
    if not temperature > 0:
        raise ValueError(f"cosine_head: temperature is {temperature}, expected above 0")

    def transfer(key: Key, plan: Plan) -> Plan:
        plan = new_head(outputs, width, where=where, std=std)(key, plan)
        params, rates = (drop(t, f"{where}/bias") for t in (plan.params, plan.rates))
        bare = plan._replace(params=params, rates=rates)
        return graft(where, name, lambda key, site: Direction(temperature))(key, bare)

    return transfer
