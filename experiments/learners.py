"""Learners of a config: `{"learner": name, argument: value, ...}` made ready."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

from ml_collections import ConfigDict

from experiments.algorithms import (
    PLAYER,
    Cast,
    Recipe,
    Setting,
    make_supervised,
)
from experiments.inner_loops import Rates, make_inner
from experiments.learner_table import CLASSES, LEARNERS, Entry
from tl_jax.algorithms import augmented_steps, meta, per_task
from tl_jax.algorithms.meta.tasks import Tasks
from tl_jax.tree import no_match, one_of
from tl_jax.types import Algorithm, Player

TRAIN = ("episodes", "classes")
GIVEN = ("model", "loss", "inner", "name", "players", "parts", "clip", "tasks")
"""Arguments of learners that a run fills in, or that say how it is computed."""


def few_shot(table: Mapping[str, Any], train: str, at: str, task: str) -> Recipe:
    """The recipe of a phase that is judged on episodes.

    `train` is "episodes" (the default) for meta-training, or "classes" for common
    training on all training classes at once, before the learner sees episodes.
    Raises with the place in the config and the nearest name.
    """
    train = train or TRAIN[0]
    one_of(f"config.{at}.train", train, TRAIN)
    where = f"config.{at}.learner"
    table, entry = _named(table, where, task)
    _check_training(entry, train, at, task)
    tasks = table.pop("tasks", "vmap")
    one_of(f"{where}.tasks", tasks, get_args(Tasks))
    inner, cast = None, _cast(entry, table, where)
    if "inner" in arguments(entry):
        own = table.pop("inner", {}), f"{where}.inner"
        inner, cast = make_inner(*own, cast, entry.moves)
    _check(entry, table, where)
    make = partial(_made, entry, table, train, tasks, inner, where)
    head = "classes" if train == "classes" else entry.head
    batches = "train" if train == "classes" else "episodes"
    stepped = None if inner is None else lambda steps: partial(make, steps=steps)
    return Recipe(make, cast, head, batches, stepped)


def _named(table: Any, where: str, task: str) -> tuple[dict[str, Any], Entry]:
    """(The rest of a learner's table, the learner that it names)."""
    if not isinstance(table, Mapping | ConfigDict):
        raise ValueError(
            f'{where} is {table!r}, expected a table: {{"learner": name, ...}}'
        )
    table = dict(table)
    name = table.pop("learner", None)
    if name is None:
        raise ValueError(f"{where} names no learner; there are: {', '.join(LEARNERS)}")
    one_of(where, name, LEARNERS)
    entry = LEARNERS[name]
    if task not in entry.of:
        fits = ", ".join(n for n, other in LEARNERS.items() if task in other.of)
        raise ValueError(
            f"{where}: {name} learns {', '.join(entry.of)}, but config.task is "
            f"{task!r}; learners for it: {fits}"
        )
    return table, entry


def _cast(entry: Entry, table: dict[str, Any], where: str) -> Cast:
    """Who plays; what an entry says of the table names its place."""
    try:
        return entry.cast(table)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _check_training(entry: Entry, train: str, at: str, task: str) -> None:
    """Raise where there are no classes, or where a learner can't but see episodes."""
    if train == "classes" and task not in CLASSES:
        raise ValueError(
            f"config.{at}.train is 'classes', but config.task is {task!r}: its tasks "
            "have none"
        )
    if train == "classes" and _whole(entry):
        raise ValueError(
            f"config.{at}.train is 'classes', but {entry.make.__name__} trains on "
            "episodes alone; evaluate what classes trained by fine_tune"
        )


def _whole(entry: Entry) -> bool:
    """Whether a learner is an algorithm of its own."""
    return "players" in arguments(entry)


def _made(
    entry: Entry,
    table: Mapping[str, Any],
    train: str,
    tasks: str,
    inner: Rates | None,
    where: str,
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
        given["inner"] = inner(players[entry.moves])
    known = arguments(entry)
    if "ways" in known:
        own["ways"] = _ways(own, setting.ways, where)
    if _whole(entry) and setting.accumulate > 1:
        raise ValueError(
            f"config.accumulate is {setting.accumulate}, which {entry.make.__name__} "
            f"has not: {where}.tasks 'map' computes one task after another"
        )
    try:
        filled = {n: given[n] for n in known if n in given and n not in entry.own}
        made = entry.make(**own | filled)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    if train == "classes":
        algorithm = make_supervised(setting, {PLAYER: players[PLAYER]})
        algorithm = algorithm._replace(predict=meta.predicting(made, **how))
    elif isinstance(made, Algorithm):
        algorithm = _augmented(made, setting)
    else:
        shared["accumulate"] = setting.accumulate
        loss = entry.loss or setting.task.loss
        algorithm = meta.episodic(players, made, loss, **shared)
        algorithm = _augmented(algorithm, setting)
    return algorithm if setting.draw is None else meta.sampled(algorithm, setting.draw)


def _augmented(algorithm: Algorithm, setting: Setting) -> Algorithm:
    """Training on augmented episodes, support and queries each by themselves."""
    if setting.augment is None:
        return algorithm
    own = per_task(setting.augment)
    return augmented_steps(augmented_steps(algorithm, own, "support"), own, "query")


def _ways(own: Mapping[str, Any], most: int, where: str) -> int:
    """The learner's ways: those of the episodes, unless the table says more."""
    ways = own.get("ways", most)
    if ways < most:
        raise ValueError(
            f"{where}.ways is {ways}, expected at least {most}, the ways of "
            "config.episodes, or to be left out"
        )
    return ways


def arguments(entry: Entry) -> list[str]:
    """Names of a learner's arguments, with those that it hands on."""
    known = inspect.signature(entry.make).parameters.values()
    own = [p.name for p in known if p.kind is not p.VAR_KEYWORD]
    if len(own) == len(known):
        return own
    more = inspect.signature(entry.hands_on).parameters
    return own + [name for name in more if name not in own]


def default_of(entry: Entry, name: str) -> Any:
    """The default of a learner's argument."""
    for make in (entry.make, entry.hands_on):
        known = inspect.signature(make).parameters
        if name in known:
            return known[name].default
    raise no_match(f"{entry.make.__name__}'s argument", name, arguments(entry))


def _check(entry: Entry, table: Mapping[str, Any], at: str) -> None:
    """Raise for arguments that the learner has not."""
    free = [name for name in arguments(entry) if name not in GIVEN]
    for name in table:
        if name not in free:
            raise no_match(f"{at}: {entry.make.__name__}'s argument", name, free)
