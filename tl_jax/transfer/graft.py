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

    A patch whose class says `first = True` reads what it maps as the layer alone made
    it, and none of its point may come before it, in name order.

    Raises `NoMatch` with the nearest sites, or ValueError if a name is taken or a patch
    would come before one that must be the first.
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
            _check_first(at, name, patch, site.get("patch", {}))
            params = put(params, at, patch)
            rates = put(rates, at, initial_rates(patch))
        return plan._replace(params=params, rates=rates)

    return transfer


def _check_first(at: str, name: str, patch: Patch, others: Params) -> None:
    """Raise if this patch and one of the others would act in an order that is wrong."""
    for other, there in others.items():
        late, early = (patch, other) if other < name else (there, name)
        if there.point == patch.point and getattr(type(late), "first", False):
            raise ValueError(
                f"{at!r}: {name!r} ({type(patch).__name__}) and {other!r} "
                f"({type(there).__name__}) act in name order at {patch.point!r}, where "
                f"{type(late).__name__} must be the first, but {early!r} would be: "
                "give one of them another name"
            )


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
