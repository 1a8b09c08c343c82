"""Tuning of a range of blocks, and of all at rates that fall with the depth."""

import re

from tl_jax.nn.block import block_range
from tl_jax.transfer.plan import BLOCK, layerwise, rate
from tl_jax.tree import matches, paths
from tl_jax.types import Key, Plan, Transfer


def blocks(first: int, last: int, value: float = 1.0) -> Transfer:
    """Set the rate of the blocks `first` to `last`, both included (Lee et al., 2023).

    Negative numbers count from the end: of 12 blocks `blocks(-2, -1)` is 10 and 11.
    Surgical fine-tuning is chain(freeze(".*"), blocks(0, 3)): the first blocks for a
    shift of the inputs, those in the middle for one of features, the last for one of
    labels; a new head needs `rate("head/.*", 1.0)` as well. Patches and what lies
    outside of the range keep their rates.

    Raises `NoMatch` without blocks, and ValueError for blocks that the model has not,
    an empty range, a negative rate, or a stack with blocks on both sides of an end.
    """
    if not value >= 0:
        raise ValueError(f"blocks: rate is {value}, expected 0 or more")

    def transfer(key: Key, plan: Plan) -> Plan:
        known = [path for path in paths(plan.rates) if "/patch/" not in path]
        found = matches(BLOCK.pattern, known, "blocks needs blocks:")
        own = {path: block_range(BLOCK.fullmatch(path)[1]) for path in found}
        depth = max(numbers.stop for numbers in own.values())
        low, high = _place(first, depth), _place(last, depth)
        if low > high:
            raise ValueError(f"blocks({first}, {last}): of {depth} that range is empty")
        chosen = [path for path, n in own.items() if _inside(n, low, high, path)]
        return rate("|".join(map(re.escape, chosen)), value)(key, plan)

    return transfer


def discriminative(divisor: float = 2.6) -> Transfer:
    """Divide rates by `divisor` for each layer downwards (Howard and Ruder, 2018).

    eta_(l-1) = eta_l / 2.6: `layerwise(1 / divisor)`, the blocks being the layers.
    Rates of groups of the user's own are `rate("blocks/[0-3]/.*", 0.1)` and the like.
    Raises ValueError for a divisor below 1.
    """
    if not divisor >= 1:
        raise ValueError(f"discriminative: divisor is {divisor}, expected 1 or more")
    return layerwise(1 / divisor)


def _place(number: int, depth: int) -> int:
    """A block's number, counted from the end where it is negative."""
    if not -depth <= number < depth:
        raise ValueError(
            f"blocks: there is no block {number}; the model has {depth}, 0 to "
            f"{depth - 1}, or {-depth} to -1 from the end"
        )
    return number % depth


def _inside(numbers: range, low: int, high: int, path: str) -> bool:
    """Whether a path's blocks lie in the range; a stack is one or the other."""
    both = range(max(numbers.start, low), min(numbers.stop - 1, high) + 1)
    if 0 < len(both) < len(numbers):
        raise ValueError(f"{path!r} is stacked: set rates first, then stack_layers")
    return len(both) > 0
