"""Absorb patches into the weights they stand beside."""

from itertools import takewhile

import jax

from tl_jax.nn import base_weight
from tl_jax.tree import drop, get, put, sites
from tl_jax.types import Params, Plan


def fold(plan: Plan) -> Plan:
    """The same function with fewer nodes: every foldable patch goes into its site.

    A patch is foldable if its class has `fold(site) -> site`. One that has not stays,
    and so do those whose values it would change. A quantised kernel that takes one in
    is an array of float32 from then on. Rates and statistics of what remains are
    unchanged.
    """
    params, rates = plan.params, plan.rates
    for path, site in sites(params).items():
        for name in _in_order(site.get("patch", {})):
            patch = site["patch"][name]
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            own = get(params, path)
            if hasattr(own.get("kernel"), "dequantise"):
                own = own | {"kernel": base_weight(own)}
                rates = put(rates, f"{path}/kernel", 0.0)
            params = drop(put(params, path, patch.fold(own)), at)
            rates = drop(rates, at)
    return plan._replace(params=params, rates=rates)


def foldable(params: Params) -> bool:
    """True if `fold` would leave no patch at all."""
    plain = fold(Plan(params, jax.tree.map(lambda _: 0.0, params), {})).params
    return not any("patch" in site for site in sites(plain).values())


def _in_order(found: Params) -> list[str]:
    """Names of the patches that can be absorbed, in the order that is exact.

    Around y = x W + b: those at the product from the kernel outwards; only when none
    of them is left, those at the input from the kernel back to x, and those at the
    output.
    """

    def leading(point: str, *, backwards: bool = False) -> tuple[list[str], bool]:
        at = sorted((n for n in found if found[n].point == point), reverse=backwards)
        ready = list(takewhile(lambda name: hasattr(found[name], "fold"), at))
        return ready, len(ready) == len(at)

    names, complete = leading("product")
    if complete:
        names += leading("input", backwards=True)[0] + leading("output")[0]
    return names
