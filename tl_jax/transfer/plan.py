"""Plans: which weights exist, which of them move, and how fast."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tl_jax.nn import Fixed, Running
from tl_jax.nn.block import block_range
from tl_jax.tree import flatten, get, map_with_path, matches, paths
from tl_jax.types import Key, Params, Plan, Rates, Stats, Transfer

BLOCK = re.compile(r"(?:.*/)?blocks/([0-9]+(?:-[0-9]+)?)/.*")


def full(params: Params, stats: Stats | None = None) -> Plan:
    """The plan in which everything moves at rate 1."""
    return Plan(params, jax.tree.map(lambda _: 1.0, params), stats or {})


def chain(*transfers: Transfer) -> Transfer:
    """Apply transforms from left to right.

    All get the same key: each draws from it folded with its own name and the site's
    path, so one more transform changes nobody else's initial values.
    """

    def transfer(key: Key, plan: Plan) -> Plan:
        for change in transfers:
            plan = change(key, plan)
        return plan

    return transfer


def trainable(rates: Rates) -> Any:
    """True where a rate is not 0: what `partition` takes."""
    return jax.tree.map(lambda rate: rate != 0, rates)


def rate(where: str, value: float) -> Transfer:
    """Set the rate of every leaf whose path matches `where` in full.

    Batch-norm statistics follow the parameters of their site: `Fixed` once all of
    them are frozen, `Running` once one of them moves again.

    Raises `NoMatch` with the nearest paths, or ValueError for a negative rate.
    """
    if not value >= 0:
        raise ValueError(f"rate of {where!r} is {value}, expected 0 or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        return _with_rates(plan, where, lambda path, old: float(value))

    return transfer


def freeze(where: str) -> Transfer:
    """Rate 0 for every leaf whose path matches `where` in full."""
    return rate(where, 0.0)


def layerwise(decay: float) -> Transfer:
    """Multiply rates by decay^(layers above).

    (Howard and Ruder, 2018; Clark et al., 2020.)
    With L blocks, `blocks/<i>` gets decay^(L - i), what comes before the blocks
    (`embed/...`) decay^(L + 1), what comes after them (`norm`, `pooler`, `head`) 1.
    Depth is the block's number, not its place among names.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layerwise decay is {decay}, expected in (0, 1]")

    def transfer(key: Key, plan: Plan) -> Plan:
        known = paths(plan.rates)
        matches(BLOCK.pattern, known, "layerwise needs blocks:")
        numbers = [block_range(m[1]) for p in known if (m := BLOCK.fullmatch(p))]
        layers = max(numbers, key=lambda numbers: numbers.stop).stop

        def scaled(path: str, old: float) -> float:
            if found := BLOCK.fullmatch(path):
                return old * decay ** (layers - _single(found[1], path))
            first = path.split("/", 1)[0]
            return old * (decay ** (layers + 1) if first == "embed" else 1.0)

        return plan._replace(rates=map_with_path(scaled, plan.rates))

    return transfer


def top(count: int, value: float = 1.0) -> Transfer:
    """Set the rate of the last `count` blocks and of all that comes after them.

    Whatever the depth is: of 12 blocks `top(2)` opens 10 and 11, norm, pooler and head.
    Embeddings, lower blocks and patches keep their rates. Raises `NoMatch` without
    blocks, ValueError for more than there are.
    """
    if count < 0 or not value >= 0:
        raise ValueError(f"top({count}, {value}): expected 0 or more of both")

    def transfer(key: Key, plan: Plan) -> Plan:
        known = [path for path in paths(plan.rates) if "/patch/" not in path]
        matches(BLOCK.pattern, known, "top needs blocks:")
        numbers = {p: _number(p) for p in known}
        depth = max(n for n in numbers.values() if n is not None) + 1
        if count > depth:
            raise ValueError(f"top({count}): the model has {depth} blocks")
        outside = re.compile(r"(?:.*/)?embed/.*")
        chosen = [
            path
            for path, n in numbers.items()
            if (n is None and not outside.fullmatch(path))
            or (n is not None and n >= depth - count)
        ]
        rule = "|".join(map(re.escape, chosen))
        return _with_rates(plan, rule, lambda path, old: float(value))

    return transfer


def check_movable(params: Params, rates: Rates) -> None:
    """Raise for a leaf of whole numbers that has a rate, by its path."""
    moving = {path for path, value in flatten(rates).items() if value}
    for path, leaf in flatten(params).items():
        if path in moving and not jnp.issubdtype(leaf.dtype, jnp.inexact):
            raise ValueError(
                f"{path!r} holds whole numbers ({leaf.dtype}) and cannot move: its "
                "rate stays 0"
            )


def _number(path: str) -> int | None:
    """The block that a leaf belongs to, None outside of them."""
    found = BLOCK.fullmatch(path)
    return None if found is None else _single(found[1], path)


def _single(name: str, path: str) -> int:
    """The one block a name stands for; stacked blocks share their rates."""
    numbers = block_range(name)
    if len(numbers) > 1:
        raise ValueError(f"{path!r} is stacked: set rates first, then stack_layers")
    return numbers.start


def _with_rates(plan: Plan, where: str, new: Callable[[str, float], float]) -> Plan:
    """A plan with new rates at the matching leaves, its statistics in step."""
    found = set(matches(where, paths(plan.rates)))
    rates = map_with_path(
        lambda path, old: new(path, old) if path in found else old, plan.rates
    )
    check_movable(plan.params, rates)
    touched = {path.rpartition("/")[0] for path in found}
    stats = {
        site: _settle(node, get(rates, site)) if site in touched else node
        for site, node in plan.stats.items()
    }
    return plan._replace(rates=rates, stats=stats)


def _settle(node: Running | Fixed, rates: Rates) -> Running | Fixed:
    """The statistics' node that goes with a site's rates."""
    kind = Running if any(jax.tree.leaves(rates)) else Fixed
    return kind(node.mean, node.var)
