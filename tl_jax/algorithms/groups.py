"""Leaves that move together, and the optax state that they share."""

from itertools import count
from typing import Any

import optax

from tl_jax.tree import (
    carry,
    copy,
    flatten,
    map_with_path,
    matches,
    merge,
    node,
    static,
)
from tl_jax.types import Array, Params


@node
class Group:
    """Leaves that move together since they began to, and their optax state.

    Leaves opened later have a group of their own: under one shared Adam count of
    1,000, zero moments would step 2.5 times too far. So have leaves that some stage
    moves without the others.
    """

    state: Any
    paths: tuple[str, ...] = static()

    def part(self, tree: Params) -> Params:
        """`tree` with holes where a leaf belongs to another group."""
        mine = set(self.paths)
        return map_with_path(lambda path, leaf: leaf if path in mine else None, tree)


def grouped(tx: Any, train: Params, rule: str | None = None) -> dict[str, Group]:
    """Fresh groups: one of all leaves, or one of what `rule` matches and the rest."""
    if rule is None:
        return {"0": _group(tx, train)}
    paths = tuple(flatten(train))
    own = set(matches(rule, paths, "moving leaves"))
    sides = [
        [path for path in paths if (path in own) is side] for side in (False, True)
    ]
    parts = [Group(None, tuple(side)).part(train) for side in sides if side]
    return {str(i): _group(tx, part) for i, part in enumerate(parts)}


def regrouped(tx: Any, train: Params, fresh: dict, old: dict) -> dict[str, Group]:
    """Groups for `train`: the old ones less what closed, others for what opened.

    What is apart in the `fresh` groups is apart from now on.
    """
    free = count(max((int(name) for name in old), default=-1) + 1)
    known = {path for group in old.values() for path in group.paths}
    kept: dict[str, Group] = {}
    for name, group in old.items():
        for part in fresh.values():
            paths = tuple(path for path in group.paths if path in part.paths)
            if paths:
                new = _group(tx, Group(None, paths).part(train))
                own = str(next(free)) if name in kept else name
                kept[own] = Group(carry(group.state, new.state), paths)
    for part in fresh.values():
        paths = tuple(path for path in part.paths if path not in known)
        if paths:
            kept[str(next(free))] = _group(tx, Group(None, paths).part(train))
    return kept


def chosen(name: str, groups: dict[str, Group], rule: str | None) -> dict[str, Group]:
    """The groups of a player that a stage moves: all, or those that `rule` matches."""
    if rule is None:
        return groups
    paths = [path for group in groups.values() for path in group.paths]
    own = set(matches(rule, paths, f"moving leaves of {name!r}"))
    mixed = [g for g in groups.values() if own & set(g.paths) and set(g.paths) - own]
    if mixed:
        raise ValueError(
            f"player {name!r}: {rule!r} matches a part of the leaves that move "
            f"together, such as {mixed[0].paths[0]!r}; expected them `apart`"
        )
    return {key: group for key, group in groups.items() if own & set(group.paths)}


def part_of(train: Params, groups: dict[str, Group]) -> Params:
    """`train` with holes where no group has a leaf."""
    return Group(None, tuple(p for g in groups.values() for p in g.paths)).part(train)


def updated(tx, groups, train, grads, value, value_fn, state):
    """One optax update a group of leaves."""
    new = dict(groups)
    for name, group in groups.items():
        part = group.part(train)

        def own_value(part: Params, train: Params = train) -> Array:
            return value_fn(merge(part, train))

        updates, opt = tx.update(
            group.part(grads),
            group.state,
            part,
            value=value.sum(),
            grad=group.part(grads),
            value_fn=own_value,
            step=state.step,
        )
        train = merge(optax.apply_updates(part, updates), train)
        new[name] = Group(opt, group.paths)
    return train, new


def _group(tx: optax.GradientTransformation, part: Params) -> Group:
    """Leaves with a fresh state, its buffers apart: optax may share zeros in it."""
    return Group(copy(tx.init(part)), tuple(flatten(part)))
