"""Parameters and statistics as one flat dict, the way a file holds them.

A site's statistics are the leaves `stats/<site>/mean` and `stats/<site>/var`.
"""

from typing import Any

import jax

from tl_jax import tree
from tl_jax.nn import Running
from tl_jax.types import Model, Params, Stats

STATS = "stats/"


def together(params: Params, stats: Stats) -> dict[str, Any]:
    """`{path: leaf}` of both."""
    moving = {STATS + path: leaf for path, leaf in tree.flatten(stats).items()}
    return tree.flatten(params) | moving


def apart(flat: dict[str, Any]) -> tuple[Params, Stats]:
    """The inverse of `together`; every site's statistics may move."""
    params = {path: leaf for path, leaf in flat.items() if not path.startswith(STATS)}
    sites = {
        path[len(STATS) :].rpartition("/")[0]: None for path in flat.keys() - params
    }
    stats = {
        site: Running(flat[f"{STATS}{site}/mean"], flat[f"{STATS}{site}/var"])
        for site in sorted(sites)
    }
    return tree.unflatten(params), stats


def shapes_of(model: Model) -> dict[str, tuple[int, ...]]:
    """Path -> shape of every leaf that the model's `init` makes."""
    made = jax.eval_shape(model.init, jax.random.key(0))
    return {path: leaf.shape for path, leaf in together(*made).items()}
