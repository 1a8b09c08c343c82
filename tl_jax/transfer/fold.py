"""Absorb patches into the weights they stand beside."""

from itertools import takewhile

import jax

from tl_jax.nn import base_weight, expand
from tl_jax.tree import drop, get, put, sites
from tl_jax.types import Params, Plan


def fold(plan: Plan) -> Plan:
    """The same function with fewer nodes: every foldable patch goes into its site.

    A patch is foldable if its class has `fold(site) -> site`. One that has not stays,
    and so do those whose values it would change. Patches at the root are expanded
    and go, too, if all that they put at sites is absorbed there. A quantised kernel
    that takes one in is an array of float32 from then on. Rates and statistics of
    what remains are unchanged.
    """
    whole = expand(plan.params)
    roots = _of_point(plan.params, "root")
    if roots:
        spread = _absorbed(whole, plan)
        left = sites(spread.params).items()
        mine = _put_by_roots(plan.params, whole)
        if not any(f"{at}/{n}" in mine for at, s in left for n in s.get("patch", {})):
            for name in roots:
                spread = _without(spread, "", name)
            return spread
    return _absorbed(plan.params, plan)


def _absorbed(params: Params, plan: Plan) -> Plan:
    """The plan with these parameters, less what their sites absorb."""
    plan = plan._replace(params=params)
    for path, site in sites(params).items():
        for name in _in_order(site.get("patch", {})):
            plan = _widened(plan, path)
            own = site["patch"][name].fold(get(plan.params, path))
            plan = plan._replace(params=put(plan.params, path, own))
            plan = _without(plan, path, name)
    return plan


def _widened(plan: Plan, path: str) -> Plan:
    """The plan with an array where the site's kernel is quantised."""
    own = get(plan.params, path)
    if not hasattr(own.get("kernel"), "dequantise"):
        return plan
    at = f"{path}/kernel"
    return plan._replace(
        params=put(plan.params, at, base_weight(own)), rates=put(plan.rates, at, 0.0)
    )


def _without(plan: Plan, path: str, name: str) -> Plan:
    """The plan less one patch."""
    at = f"{path}/patch/{name}" if path else f"patch/{name}"
    return plan._replace(params=drop(plan.params, at), rates=drop(plan.rates, at))


def _of_point(site: Params, point: str) -> list[str]:
    return [n for n, p in site.get("patch", {}).items() if p.point == point]


def _put_by_roots(params: Params, whole: Params) -> set[str]:
    """`site/name` of every patch that expanding added or changed."""
    before = sites(params)
    return {
        f"{path}/{name}"
        for path, site in sites(whole).items()
        for name, patch in site.get("patch", {}).items()
        if before.get(path, {}).get("patch", {}).get(name) is not patch
    }


def foldable(params: Params) -> bool:
    """True if `fold` would leave no patch at all."""
    plain = fold(Plan(params, jax.tree.map(lambda _: 0.0, params), {})).params
    return not any("patch" in site for site in sites(plain).values())


def _in_order(found: Params) -> list[str]:
    """Names of the patches that can be absorbed, in the order that is exact.

    Around y = x W + b: those at the kernel; when none of them is left, those at the
    product from the kernel outwards; only when none of these is left, those at the
    input from the kernel back to x, and those at the output.
    """

    def leading(point: str, *, backwards: bool = False) -> tuple[list[str], bool]:
        at = sorted((n for n in found if found[n].point == point), reverse=backwards)
        ready = list(takewhile(lambda name: hasattr(found[name], "fold"), at))
        return ready, len(ready) == len(at)

    names, complete = leading("kernel")
    if complete:
        products, complete = leading("product")
        names += products
    if complete:
        names += leading("input", backwards=True)[0] + leading("output")[0]
    return names
