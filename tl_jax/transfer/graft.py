"""Put patch nodes at sites."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from tl_jax.nn.patches import POINTS
from tl_jax.tree import get, matches, put, sites, stable_key
from tl_jax.types import Key, Params, Patch, Plan, Transfer


def graft(
    where: str,
    name: str,
    make: Callable[[Key, Params], Patch],
    *,
    has: Sequence[str] = (),
) -> Transfer:
    """Add the patch `make(key, site)` under `site["patch"][name]` of matching sites.

    `where` matches paths of sites, sub-dicts such as `blocks/0/attention/query`, in
    full; only sites that hold all leaves named by `has` are looked at. `""` is the
    root. The key of a site is the plan's key folded with `name` and the site's path.

    Raises `NoMatch` with the nearest sites, or ValueError if a name is taken.
    """

    def transfer(key: Key, plan: Plan) -> Plan:
        params, rates = plan.params, plan.rates
        known = [
            path
            for path, site in sites(params).items()
            if all(leaf in site for leaf in has)
        ]
        for path in matches(where, known, f"{name}: where"):
            site = get(params, path)
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            if name in site.get("patch", {}):
                raise ValueError(
                    f"patch {at!r} is taken by {type(site['patch'][name]).__name__}: "
                    "give the second one another name"
                )
            patch = make(stable_key(key, name, path), site)
            if patch.point not in POINTS:
                raise ValueError(
                    f"{at!r} has point {patch.point!r}, expected one of {POINTS}"
                )
            params = put(params, at, patch)
            rates = put(rates, at, initial_rates(patch))
        return plan._replace(params=params, rates=rates)

    return transfer


def initial_rates(patch: Patch) -> Any:
    """A patch with rates for leaves: what its class declares, else 1."""
    declared = type(patch).rates

    def constant(name: str, value: Any) -> Any:
        return jax.tree.map(lambda _: float(declared.get(name, 1.0)), value)

    fields = {
        field.name: constant(field.name, getattr(patch, field.name))
        for field in dataclasses.fields(patch)
        if not field.metadata.get("static")
    }
    return dataclasses.replace(patch, **fields)
