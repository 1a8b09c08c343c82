"""Learners of a config: `{"learner": name, argument: value, ...}` made ready."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import optax

from experiments.algorithms import PLAYER, Recipe, Setting, alone, make_supervised
from tl_jax.algorithms import meta
from tl_jax.tree import no_match, one_of
from tl_jax.types import Algorithm, Player, Transfer

INNER = {
    "plan": (),
    "optimiser": "sgd",
    "rate": 0.01,
    "momentum": 0.0,
    "clip": 0.0,
    "steps": 1,
    "mode": "unrolled",
    "remat": False,
}
"""Fields of a learner's `inner` table, with their defaults."""
OPTIMISERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "sgd": lambda own: optax.sgd(own["rate"], own["momentum"] or None),
    "adam": lambda own: optax.adam(own["rate"]),
    "adam0": lambda own: optax.adam(own["rate"], b1=0.0),
    "rmsprop": lambda own: optax.rmsprop(own["rate"]),
}
"""Inner optimisers by name; `adam0` is Adam without momentum, as Reptile has it."""
TRAIN = ("episodes", "classes")
OWN = ("tasks",)
"""Fields of a learner's table that say how it is computed, not what it is."""
GIVEN = ("model", "loss", "inner", "name")
"""Arguments of learners that a run fills in."""


class Entry(NamedTuple):
    """A learner by name."""

    make: Callable[..., Any]
    head: str
    """`ways` where it reads the model's head, else `none`."""


LEARNERS: Mapping[str, Entry] = {
    "maml": Entry(meta.maml, "ways"),
}


def few_shot(table: Mapping[str, Any], train: str, at: str) -> Recipe:
    """The recipe of a phase that is judged on episodes.

    `train` is "episodes" (the default) for meta-training, or "classes" for common
    training on all training classes at once, before the learner sees episodes.
    Raises with the place in the config and the nearest name.
    """
    train = train or TRAIN[0]
    one_of(f"config.{at}.train", train, TRAIN)
    table = dict(table)
    name = table.pop("learner", None)
    where = f"config.{at}.learner"
    if name is None:
        raise ValueError(f"{where} names no learner; there are: {', '.join(LEARNERS)}")
    if name not in LEARNERS:
        raise no_match(where, name, LEARNERS)
    entry = LEARNERS[name]
    tasks = table.pop("tasks", "vmap")
    one_of(f"{where}.tasks", tasks, ("vmap", "map"))
    inner = _inner(entry, table, where)
    _check(entry, table, where)

    def make(
        setting: Setting, players: Mapping[str, Player], steps: int | None = None
    ) -> Algorithm:
        own = dict(table) if steps is None else {**table, "test_steps": steps}
        if inner is not None:
            own["inner"] = inner(players[PLAYER])
        learner = _filled(entry, own, setting, players)
        how = dict(tasks=tasks, parts=setting.parts)
        if train == "classes":
            made = make_supervised(setting, {PLAYER: players[PLAYER]})
            made = made._replace(predict=meta.predicting(learner, **how))
        else:
            shared = dict(accumulate=setting.accumulate, clip=setting.clip, **how)
            made = meta.episodic(players, learner, setting.task.loss, **shared)
        return made if setting.draw is None else meta.sampled(made, setting.draw)

    head = "classes" if train == "classes" else entry.head
    batches = "train" if train == "classes" else "episodes"
    stepped = None if inner is None else lambda steps: partial(make, steps=steps)
    return Recipe(make, alone, head, batches, stepped)


def _filled(
    entry: Entry, own: dict[str, Any], setting: Setting, players: Mapping
) -> Any:
    """The learner, with what a run knows filled in."""
    known = inspect.signature(entry.make).parameters
    given = {"model": players[PLAYER].model, "loss": setting.task.loss, "name": PLAYER}
    return entry.make(**own | {n: v for n, v in given.items() if n in known})


def _check(entry: Entry, table: Mapping[str, Any], at: str) -> None:
    """Raise for arguments that the learner has not."""
    known = inspect.signature(entry.make).parameters
    free = [name for name in known if name not in GIVEN]
    for name in table:
        if name not in free:
            raise no_match(f"{at}: {entry.make.__name__}'s argument", name, free)


def _inner(
    entry: Entry, table: dict[str, Any], at: str
) -> Callable[[Player], meta.Inner] | None:
    """(the model's player) -> `Inner`, from the table's `inner`; None without one."""
    from experiments.strategies import make_transfer

    if "inner" not in inspect.signature(entry.make).parameters:
        return None
    given = dict(table.pop("inner", {}))
    for field in given:
        if field not in INNER:
            raise no_match(f"{at}.inner: field", field, INNER)
    own = INNER | given
    if own["optimiser"] not in OPTIMISERS:
        raise no_match(f"{at}.inner.optimiser", own["optimiser"], OPTIMISERS)
    if own["momentum"] and own["optimiser"] != "sgd":
        raise ValueError(
            f"{at}.inner.momentum is {own['momentum']}, which "
            f"{own['optimiser']} has not"
        )
    for field, least in (("rate", 0.0), ("clip", 0.0), ("steps", 0)):
        if not own[field] >= least:
            raise ValueError(f"{at}.inner.{field} is {own[field]}, expected {least} up")
    one_of(f"{at}.inner.mode", own["mode"], ("unrolled", "first_order"))
    change = make_transfer(own["plan"], f"{at}.inner.plan") if own["plan"] else None
    return partial(_made_inner, own, change, at)


def _made_inner(
    own: Mapping[str, Any], change: Transfer | None, at: str, player: Player
) -> meta.Inner:
    """What moves within a task under the player's plan."""
    tx = OPTIMISERS[own["optimiser"]](own)
    if own["clip"]:
        tx = optax.chain(optax.clip_by_global_norm(own["clip"]), tx)
    try:
        rates = meta.inner_rates(player.plan, change)
    except ValueError as error:
        raise ValueError(f"{at}.inner.plan: {error}") from error
    return meta.Inner(rates, tx, own["steps"], own["mode"], own["remat"])
