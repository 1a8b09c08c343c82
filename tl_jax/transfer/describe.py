"""A plan as a table."""

import re
from typing import Any

import jax
import numpy as np

from tl_jax.nn.block import block_range
from tl_jax.transfer.plan import trainable
from tl_jax.tree import count, get, partition, sites
from tl_jax.types import Plan

BLOCK = re.compile(r"(?:^|/)blocks/([0-9]+(?:-[0-9]+)?)(?=/|$)")


def short(number: int) -> str:
    """A count for people: 1,234 or 22.8M."""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:,}"


def totals(plan: Plan) -> tuple[int, int]:
    """Numbers of trainable and of all parameters."""
    train, _ = partition(plan.params, trainable(plan.rates))
    return count(train), _numbers(plan.params)


def _numbers(tree: Any) -> int:
    """Numbers that the leaves stand for: of a quantised kernel those of its shape."""
    whole = jax.tree.leaves(tree, is_leaf=lambda leaf: hasattr(leaf, "dequantise"))
    return sum(int(np.prod(np.shape(leaf))) for leaf in whole)


def describe(plan: Plan) -> str:
    """A line a site: path, shapes, count, rate, patches at their rate; and the totals.

    Blocks whose sites are alike share a line, `blocks/0-5/...`, with the count of one.
    """
    rows: dict[tuple, list[str]] = {}
    for path, site in sites(plan.params).items():
        own = {n: v for n, v in site.items() if not isinstance(v, dict)}
        patches = site.get("patch", {})
        if not own and not patches:
            continue
        shapes = " ".join(f"{n}{list(np.shape(v))}" for n, v in sorted(own.items()))
        rates = get(plan.rates, path)
        moving = _rates({n: rates[n] for n in own})
        names = " ".join(
            f"{n}:{type(p).__name__}@{_fastest(rates['patch'][n])}"
            for n, p in sorted(patches.items())
        )
        place, number = _place(path)
        kind = place, shapes, f"{_numbers(own) + _numbers(patches):,}", moving, names
        rows.setdefault(kind, []).append(number)
    lines = [("site", "shapes", "count", "rate", "patches")]
    for (place, *rest), numbers in rows.items():
        lines.append((place.format(_ranges(numbers)) or ".", *rest))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    moves, everything = totals(plan)
    share = 100 * moves / max(everything, 1)
    table.append(f"trainable {moves:,} of {short(everything)}, {share:.2f} %")
    return "\n".join(table)


def _place(path: str) -> tuple[str, str]:
    """A path with `{}` for its block's name, and that name."""
    found = BLOCK.search(path)
    if not found:
        return path, ""
    return f"{path[: found.start(1)]}{{}}{path[found.end(1) :]}", found[1]


def _ranges(names: list[str]) -> str:
    """Names of blocks, runs of neighbours as `first-last`."""
    runs: list[list[int]] = []
    blocks = map(block_range, filter(None, names))
    for numbers in sorted(blocks, key=lambda numbers: numbers.start):
        if runs and runs[-1][1] + 1 == numbers.start:
            runs[-1][1] = numbers[-1]
        else:
            runs.append([numbers.start, numbers[-1]])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in runs)


def _rates(rates: dict) -> str:
    """One number if all agree, otherwise name=rate."""
    values = set(jax.tree.leaves(rates))
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values.pop():g}"
    return " ".join(f"{name}={_fastest(own)}" for name, own in sorted(rates.items()))


def _fastest(rates: Any) -> str:
    """The largest rate of a patch's fields: those that it keeps fixed have none."""
    return f"{max(jax.tree.leaves(rates), default=0):g}"
