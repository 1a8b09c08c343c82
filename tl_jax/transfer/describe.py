"""A plan as a table."""

import jax
import numpy as np

from tl_jax.transfer.plan import trainable
from tl_jax.tree import count, get, partition, sites
from tl_jax.types import Plan


def short(number: int) -> str:
    """A count for people: 1,234 or 22.8M."""
    for size, letter in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:,}"


def totals(plan: Plan) -> tuple[int, int]:
    """Numbers of trainable and of all parameters."""
    train, _ = partition(plan.params, trainable(plan.rates))
    return count(train), count(plan.params)


def describe(plan: Plan) -> str:
    """A line a site: path, shapes, count, rates, patches; and the totals."""
    rows = [("site", "shapes", "count", "rate", "patches")]
    for path, site in sites(plan.params).items():
        own = {n: v for n, v in site.items() if not isinstance(v, dict)}
        patches = site.get("patch", {})
        if not own and not patches:
            continue
        shapes = " ".join(f"{n}{list(np.shape(v))}" for n, v in sorted(own.items()))
        rates = get(plan.rates, path)
        moving = {n: rates[n] for n in own}
        names = [f"{n}:{type(p).__name__}" for n, p in sorted(patches.items())]
        size = f"{count(own) + count(patches):,}"
        rows.append((path or ".", shapes, size, _rates(moving), " ".join(names)))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    moves, everything = totals(plan)
    share = 100 * moves / max(everything, 1)
    lines.append(f"trainable {moves:,} of {short(everything)}, {share:.2f} %")
    return "\n".join(lines)


def _rates(rates: dict) -> str:
    """One number if all agree, otherwise name=rate."""
    values = set(jax.tree.leaves(rates))
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values.pop():g}"
    return " ".join(f"{name}={value:g}" for name, value in sorted(rates.items()))
