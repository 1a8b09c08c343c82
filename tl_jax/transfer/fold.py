"""Absorb patches into the weights they stand beside."""

from itertools import takewhile

import jax

from tl_jax.tree import drop, get, put, sites
from tl_jax.types import Params, Plan


def fold(plan: Plan) -> Plan:
    """The same function with fewer nodes: every foldable patch goes into its site.

    A patch is foldable if its class has `fold(site) -> site`. One that has not stays,
    and so do those whose values it would change. Rates and statistics of what remains
    are unchanged.
    """
    params, rates = plan.params, plan.rates
    for path, site in sites(params).items():
        for name in _in_order(site.get("patch", {})):
            patch = site["patch"][name]
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            params = drop(put(params, path, patch.fold(get(params, path))), at)
            rates = drop(rates, at)
    return plan._replace(params=params, rates=rates)


def foldable(params: Params) -> bool:
    """True if `fold` would leave no patch at all."""
    plain = fold(Plan(params, jax.tree.map(lambda _: 0.0, params), {})).params
    return not any("patch" in site for site in sites(plain).values())


def _in_order(found: Params) -> list[str]:
    """Names of the patches that can be absorbed, in the order that is exact.

    Those at the root, which make the tree that all others read, and those of W
    itself. Around y = x W + b then those at the product from the kernel outwards;
    only when none of them is left, those at the input from the kernel back to x, and
    those at the output.
    """

    def leading(point: str, *, backwards: bool = False) -> tuple[list[str], bool]:
        at = sorted((n for n in found if found[n].point == point), reverse=backwards)
        ready = list(takewhile(lambda name: hasattr(found[name], "fold"), at))
        return ready, len(ready) == len(at)

    names: list[str] = []
    for point in ("root", "kernel", "product"):
        more, complete = leading(point)
        names += more
        if not complete:
            return names
    return names + leading("input", backwards=True)[0] + leading("output")[0]
