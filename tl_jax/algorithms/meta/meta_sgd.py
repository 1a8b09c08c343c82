"""Learn how far each weight goes in a task's step, beside where it starts."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax.algorithms.meta.bare import bare
from tl_jax.algorithms.meta.inner import Optimiser
from tl_jax.transfer.plan import trainable
from tl_jax.tree import flatten, map_with_path, no_match, partition, stable_key
from tl_jax.types import Array, Key, Params, Plan, Player, Rates

Initial = float | tuple[float, float]
"""A number, or the ends of a range to draw from uniformly."""


def meta_sgd(name: str = "rates") -> Optimiser:
    """The inner optimiser phi = theta - alpha * grad, with a learned alpha.

    alpha has the shape of theta, so it holds direction and rate (Li et al., 2017). It
    is the player `name`, made by `learned_rates`, and gets a gradient under
    `mode="unrolled"` and "first_order" alike. `joined` puts it behind momentum and
    others. Raises `NoMatch` without the player, ValueError, with the paths, where it
    has not one rate for each leaf that a task moves.
    """

    def made(params_of: Mapping[str, Params]) -> optax.GradientTransformation:
        rates = player_leaves(params_of, name)

        def update(grads: Params, state: Any, params: Any = None) -> tuple:
            check_leaves(name, rates, grads)
            return map_with_path(lambda path, g: -rates[path] * g, grads), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return made


def learned_rates(
    key: Key,
    plan: Plan,
    rates: Rates,
    tx: Any,
    *,
    initial: Initial = (0.005, 0.1),
    steps: int | None = None,
) -> Player:
    """The player that holds inner rates, to descend by `tx`.

    `plan` is the model's, `rates` its inner ones: a rate for each element of a leaf
    that a task moves, as in Meta-SGD, or with `steps` one [steps] for each leaf and
    step, as in MAML++. `initial` by default as in Meta-SGD's paper, drawn anew at each
    path. Raises ValueError for rates to start at that are not numbers of 0 or more.
    """
    low, high = initial if isinstance(initial, tuple) else (initial, initial)
    if not 0 <= low <= high:
        raise ValueError(
            f"initial is {initial}, expected a rate or (low, high) above 0"
        )

    def start(path: str, leaf: Array) -> Array:
        shape = leaf.shape if steps is None else (steps,)
        own = stable_key(key, "learned_rates", path)
        return jax.random.uniform(own, shape, leaf.dtype, low, high)

    return bare(moving_leaves(start, plan, rates), tx)


def moving_leaves(
    make: Callable[[str, Array], Any], plan: Plan, rates: Rates
) -> Params:
    """make(path, leaf) for every leaf that a task moves, holes elsewhere."""
    moving, _ = partition(plan.params, trainable(rates))
    return map_with_path(lambda path, leaf: make(path, jnp.asarray(leaf)), moving)


def player_leaves(params_of: Mapping[str, Params], name: str) -> dict[str, Array]:
    """{path: leaf} of a player; raises `NoMatch` without it."""
    if name not in params_of:
        raise no_match("player", name, params_of)
    return flatten(params_of[name])


def check_leaves(name: str, known: Mapping[str, Any], updates: Params) -> None:
    """Raise ValueError where a player and the leaves that move differ."""
    here = flatten(updates)
    lacking = sorted(here.keys() - known.keys())
    extra = sorted(known.keys() - here.keys())
    if lacking or extra:
        raise ValueError(
            f"player {name!r} and the leaves that a task moves differ: it lacks "
            f"{', '.join(lacking[:5]) or 'none'} and has beside them "
            f"{', '.join(extra[:5]) or 'none'}; make it of the same inner rates"
        )
