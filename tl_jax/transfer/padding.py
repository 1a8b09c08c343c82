"""Patches of several ranks brought to one shape, and back."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.tree import flatten, get, no_match, put, sites
from tl_jax.types import Params, Patch, Plan


def pad_ranks(plans: Sequence[Plan]) -> list[Plan]:
    """Plans whose patches have one shape: zeros up to the largest rank.

    A node says by `ranks` (field -> axis) where more zeros change nothing: in LoRA's
    x a b a column of a and its row of b that are both zero add nothing, and each has
    the other as a factor of its gradient, so that both stay zero under any optimiser
    that keeps a weight of zero without gradient where it is.

    Raises ValueError, with the path, for shapes that differ anywhere else, `NoMatch`
    for a patch that one of the plans lacks.
    """
    params = [plan.params for plan in plans]
    for path, site in sites(params[0]).items():
        for name in site.get("patch", {}):
            at = f"{path}/patch/{name}" if path else f"patch/{name}"
            rows = [_patch(own, path, name) for own in params]
            params = [
                put(own, at, new)
                for own, new in zip(params, _together(rows, at), strict=True)
            ]
    return [plan._replace(params=own) for plan, own in zip(plans, params, strict=True)]


def cut_ranks(params: Params, like: Params) -> Params:
    """The parameters with each leaf cut to its shape in `like`: undoes the padding."""
    known = flatten(like)

    def cut(keys: Any, leaf: Any) -> Any:
        shape = known[jax.tree_util.keystr(keys, simple=True, separator="/")].shape
        return leaf[tuple(slice(size) for size in shape)]

    return jax.tree_util.tree_map_with_path(cut, params)


def _patch(params: Params, path: str, name: str) -> Patch:
    found = get(params, path).get("patch", {})
    if name not in found:
        raise no_match(f"{path!r}: patch", name, found)
    return found[name]


def _together(rows: list[Patch], at: str) -> list[Patch]:
    """The same patch of several plans, padded along the axes that it names."""
    new = [dict() for _ in rows]
    for field, axis in getattr(type(rows[0]), "ranks", {}).items():
        leaves = [getattr(row, field) for row in rows]
        most = max(leaf.shape[axis] for leaf in leaves)
        for own, leaf in zip(new, leaves, strict=True):
            gap = [(0, 0)] * leaf.ndim
            gap[axis] = (0, most - leaf.shape[axis])
            own[field] = jnp.pad(leaf, gap) if gap[axis][1] else leaf
    made = [dataclasses.replace(row, **own) for row, own in zip(rows, new, strict=True)]
    for row in made[1:]:
        one, two = flatten(made[0]), flatten(row)
        for field in one:
            if np.shape(one[field]) != np.shape(two.get(field)):
                raise ValueError(
                    f"{at}/{field} is {list(np.shape(one[field]))} in one plan and "
                    f"{list(np.shape(two.get(field)))} in another; a "
                    f"{type(row).__name__} can be padded along "
                    f"{dict(getattr(type(row), 'ranks', {})) or 'no axis'}"
                )
    return made
