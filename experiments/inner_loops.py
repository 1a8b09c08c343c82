"""What moves within a task: the `inner` table of a learner."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optax
from ml_collections import ConfigDict

from experiments.algorithms import PLAYER, Cast
from experiments.transforms import make_transfer
from tl_jax.algorithms import meta
from tl_jax.transfer import at_step, stats_at_step
from tl_jax.tree import no_match, one_of, stable_key
from tl_jax.types import Key, Player, Transfer

INNER = {
    "plan": (),
    "optimiser": "sgd",
    "rate": 0.01,
    "momentum": 0.0,
    "clip": 0.0,
    "steps": 1,
    "mode": "unrolled",
    "remat": False,
    "learned": "",
    "curvature": False,
    "per_step_norms": False,
    "strength": 1.0,
    "cg_steps": 5,
    "damping": 0.0,
}
"""Fields of the table, with their defaults."""
MODES = ("unrolled", "first_order", "implicit")
LEARNED = ("", "elements", "steps")
"""Whether inner rates are learned: one an element, or one a leaf and step."""
RATES, CURVATURE = "rates", "curvature"
"""The players that hold learned rates, and matrices that turn gradients."""
OPTIMISERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "sgd": lambda own: optax.sgd(own["rate"], own["momentum"] or None),
    "adam": lambda own: optax.adam(own["rate"]),
    "adam0": lambda own: optax.adam(own["rate"], b1=0.0),
    "rmsprop": lambda own: optax.rmsprop(own["rate"]),
}
"""Inner optimisers by name; `adam0` is Adam without momentum, as Reptile has it."""
Rates = Callable[[Player], meta.Inner]


def make_inner(
    given: Mapping[str, Any], at: str, cast: Cast, moves: str = PLAYER
) -> tuple[Rates, Cast]:
    """((the player `moves`) -> `Inner`, who plays) for the table at a place.

    Raises with the field's place, what was found and what was expected.
    """
    if not isinstance(given, Mapping | ConfigDict):
        raise ValueError(f"{at} is {given!r}, expected a table of fields")
    for field in given:
        if field not in INNER:
            raise no_match(f"{at}: field", field, INNER)
    own = INNER | dict(given)
    _check(own, at)
    change = make_transfer(own["plan"], f"{at}.plan") if own["plan"] else None
    make = _maker(own, change, at)
    return make, _widened(own, make, cast, moves)


def _check(own: Mapping[str, Any], at: str) -> None:
    if own["optimiser"] not in OPTIMISERS:
        raise no_match(f"{at}.optimiser", own["optimiser"], OPTIMISERS)
    if own["momentum"] and own["optimiser"] != "sgd":
        raise ValueError(
            f"{at}.momentum is {own['momentum']}, which {own['optimiser']} has not"
        )
    one_of(f"{at}.mode", own["mode"], MODES)
    one_of(f"{at}.learned", own["learned"], LEARNED)
    if own["learned"] and own["optimiser"] != "sgd":
        raise ValueError(
            f"{at}.learned is {own['learned']!r}: rates are learned of sgd, but "
            f"{at}.optimiser is {own['optimiser']!r}"
        )
    ranged = isinstance(own["rate"], Sequence) and not isinstance(own["rate"], str)
    low, *others = own["rate"] if ranged else (own["rate"],)
    if others and (not own["learned"] or len(others) > 1 or not low <= others[0]):
        raise ValueError(
            f"{at}.rate is {own['rate']!r}, expected a number, or, where rates are "
            "learned, (low, high) to draw the first ones from"
        )
    for field, value in (("rate", low), ("clip", own["clip"])):
        if isinstance(value, str) or not 0 <= value < math.inf:
            raise ValueError(f"{at}.{field} is {value!r}, expected 0 or more")
    if type(own["steps"]) is not int or own["steps"] < 0:
        raise ValueError(
            f"{at}.steps is {own['steps']!r}, expected a whole number of 0 or more"
        )


def _maker(own: Mapping[str, Any], change: Transfer | None, at: str) -> Rates:
    mode = own["mode"]
    if mode == "implicit":
        mode = meta.Implicit(own["strength"], own["cg_steps"], own["damping"])

    def made(player: Player) -> meta.Inner:
        try:
            rates = meta.inner_rates(player.plan, change)
        except ValueError as error:
            raise ValueError(f"{at}.plan: {error}") from error
        clip = [optax.clip_by_global_norm(own["clip"])] if own["clip"] else []
        turned = [meta.meta_curvature(CURVATURE)] if own["curvature"] else []
        stepping = _stepping(own)
        plain = isinstance(stepping, tuple) and not turned
        tx = (optax.chain if plain else meta.joined)(*clip, *turned, stepping)
        made = meta.Inner(rates, tx, own["steps"], mode, own["remat"])
        if not own["per_step_norms"]:
            return made
        return made._replace(view=at_step, stats_view=stats_at_step)

    return made


def _stepping(own: Mapping[str, Any]) -> Any:
    """The optimiser itself, or what steps at learned rates."""
    if not own["learned"]:
        return OPTIMISERS[own["optimiser"]](own)
    by = meta.meta_sgd if own["learned"] == "elements" else meta.per_step_rates
    return by(RATES)


def _widened(own: Mapping[str, Any], make: Rates, cast: Cast, moves: str) -> Cast:
    """The same players, and those that hold what the inner steps learn."""
    steps = own["steps"] if own["learned"] == "steps" else None
    initial = tuple(own["rate"]) if isinstance(own["rate"], Sequence) else own["rate"]

    def widened(key: Key, player: Player) -> dict[str, Player]:
        found = cast(key, player)
        mover, tx = found[moves], player.tx
        plan, rates = mover.plan, make(mover).rates
        if own["learned"]:
            held, how = stable_key(key, RATES), dict(initial=initial, steps=steps)
            found[RATES] = meta.learned_rates(held, plan, rates, tx, **how)
        if own["curvature"]:
            found[CURVATURE] = meta.identity_curvature(plan, rates, tx)
        return found

    return widened if own["learned"] or own["curvature"] else cast
