"""Learners of a config: `{"learner": name, argument: value, ...}` made ready."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from experiments.algorithms import (
    PLAYER,
    Cast,
    Recipe,
    Setting,
    alone,
    make_supervised,
)
from experiments.inner_loops import Rates, make_inner
from experiments.players import adjusted, context
from tl_jax.algorithms import meta
from tl_jax.tree import no_match, one_of
from tl_jax.types import Algorithm, Player

TRAIN = ("episodes", "classes")
GIVEN = ("model", "loss", "inner", "name", "players", "parts", "clip", "tasks")
"""Arguments of learners that a run fills in, or that say how it is computed."""


class Entry(NamedTuple):
    """A learner by name."""

    make: Callable[..., Any]
    """Gives a `Learner`, or, if it takes `players`, an `Algorithm` of its own."""
    head: str
    """`ways` where it reads the model's head, else `none`."""
    cast: Callable[[Mapping[str, Any]], Cast] = lambda table: alone
    """(the learner's table) -> who plays beside the model; may take fields of it."""
    models: Callable[[Mapping[str, Player]], dict[str, Any]] = lambda players: {}
    """Arguments that are other players' models."""


LEARNERS: Mapping[str, Entry] = {
    "maml": Entry(meta.maml, "ways"),
    "maml_plus_plus": Entry(meta.maml_plus_plus, "ways"),
    "proto_maml": Entry(meta.proto_maml, "ways"),
    "fine_tune": Entry(meta.fine_tune, "ways"),
    "reptile": Entry(meta.reptile, "ways"),
    "prototypical": Entry(meta.prototypical, "none"),
    "matching": Entry(meta.matching, "none"),
    "matching_context": Entry(
        meta.matching, "none", context, lambda players: _context_of(players)
    ),
    "r2d2": Entry(
        meta.r2d2, "none", partial(adjusted, strength=0.0, scale=0.0, bias=0.0)
    ),
}


def few_shot(table: Mapping[str, Any], train: str, at: str) -> Recipe:
    """The recipe of a phase that is judged on episodes.

    `train` is "episodes" (the default) for meta-training, or "classes" for common
    training on all training classes at once, before the learner sees episodes.
    Raises with the place in the config and the nearest name.
    """
    train = train or TRAIN[0]
    one_of(f"config.{at}.train", train, TRAIN)
    table, where = dict(table), f"config.{at}.learner"
    name = table.pop("learner", None)
    if name is None:
        raise ValueError(f"{where} names no learner; there are: {', '.join(LEARNERS)}")
    if name not in LEARNERS:
        raise no_match(where, name, LEARNERS)
    entry = LEARNERS[name]
    tasks = table.pop("tasks", "vmap")
    one_of(f"{where}.tasks", tasks, ("vmap", "map"))
    inner, cast = None, entry.cast(table)
    if "inner" in arguments(entry.make):
        inner, cast = make_inner(table.pop("inner", {}), f"{where}.inner", cast)
    _check(entry, table, where)
    make = partial(_made, entry, table, train, tasks, inner)
    head = "classes" if train == "classes" else entry.head
    batches = "train" if train == "classes" else "episodes"
    stepped = None if inner is None else lambda steps: partial(make, steps=steps)
    return Recipe(make, cast, head, batches, stepped)


def _made(
    entry: Entry,
    table: Mapping[str, Any],
    train: str,
    tasks: str,
    inner: Rates | None,
    setting: Setting,
    players: Mapping[str, Player],
    steps: int | None = None,
) -> Algorithm:
    """The algorithm, predicting after `steps` adaptation steps if they are given."""
    own = dict(table) if steps is None else {**table, "test_steps": steps}
    how = dict(tasks=tasks, parts=setting.parts)
    shared = dict(clip=setting.clip, **how)
    given = {"model": players[PLAYER].model, "loss": setting.task.loss, "name": PLAYER}
    given |= {"players": players, **shared, **entry.models(players)}
    if inner is not None:
        given["inner"] = inner(players[PLAYER])
    known = arguments(entry.make)
    made = entry.make(**own | {n: v for n, v in given.items() if n in known})
    if isinstance(made, Algorithm):
        algorithm = made
    elif train == "classes":
        algorithm = make_supervised(setting, {PLAYER: players[PLAYER]})
        algorithm = algorithm._replace(predict=meta.predicting(made, **how))
    else:
        shared["accumulate"] = setting.accumulate
        algorithm = meta.episodic(players, made, setting.task.loss, **shared)
    return algorithm if setting.draw is None else meta.sampled(algorithm, setting.draw)


def arguments(make: Callable[..., Any]) -> list[str]:
    """Names of a learner's arguments; those that it hands on are MAML's."""
    known = inspect.signature(make).parameters.values()
    own = [p.name for p in known if p.kind is not p.VAR_KEYWORD]
    if len(own) == len(known):
        return own
    return own + [name for name in arguments(meta.maml) if name not in own]


def _context_of(players: Mapping[str, Player]) -> dict[str, Any]:
    return {"context": players["context"].model}


def _check(entry: Entry, table: Mapping[str, Any], at: str) -> None:
    """Raise for arguments that the learner has not."""
    free = [name for name in arguments(entry.make) if name not in GIVEN]
    for name in table:
        if name not in free:
            raise no_match(f"{at}: {entry.make.__name__}'s argument", name, free)
