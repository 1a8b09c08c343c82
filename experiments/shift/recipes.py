"""The recipe of a phase that adapts: `adapt = {name: {argument: value}, ...}`."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from ml_collections import ConfigDict

from experiments.algorithms import PLAYER, Cast, Recipe, Setting
from experiments.shift.entry import Entry
from experiments.shift.methods import METHODS
from experiments.shift.settings import shift_of
from experiments.transforms import called
from tl_jax.algorithms import augmented_steps
from tl_jax.algorithms.adaptation import adapted
from tl_jax.tree import one_of
from tl_jax.types import Algorithm, Key, Player

GIVEN = ("steps", "weigh", "clip", "labelled", "joint", "clock")
"""Arguments of whole algorithms that a run fills in, of those that they take."""
Named = tuple[str, Entry, dict[str, Any]]


def adaptation(table: Any, at: str, config: ConfigDict) -> Recipe:
    """The recipe of the terms that a table names, or of the algorithm.

    Raises with the place in the config and the nearest name.
    """
    if not shift_of(config).target:
        raise ValueError(f"{at} is given, but config.shift.target is empty")
    if not isinstance(table, Mapping | ConfigDict):
        raise ValueError(f"{at} is {table!r}, expected a table: {{name: {{...}}}}")
    if config.accumulate > 1:
        raise ValueError(
            f"{at}: terms are of whole batches, but config.accumulate is "
            f"{config.accumulate}; expected 1"
        )
    named, casts = [], []
    for name in table:
        one_of(at, name, METHODS)
        entry, where = METHODS[name], f"{at}.{name}"
        if not isinstance(table[name], Mapping | ConfigDict):
            raise ValueError(f"{where} is {table[name]!r}, expected a table of fields")
        if config.task not in entry.tasks:
            raise ValueError(
                f"{where} is for {', '.join(entry.tasks)}, but config.task is "
                f"{config.task!r}"
            )
        own = dict(table[name])
        casts.append(entry.cast(own))
        _check(entry, own, where)
        named.append((name, entry, own))
    _check_together(named, at)
    streams = {entry.streams for _, entry, _ in named}
    make = partial(_made, named, at)
    return Recipe(make, _cast(casts), batches=min(streams))


def _check(entry: Entry, own: Mapping[str, Any], where: str) -> None:
    """Raise for arguments that a method has not."""
    known = [
        name
        for name, p in inspect.signature(entry.make).parameters.items()
        if name not in (*GIVEN, "players", "loss") and p.kind is not p.VAR_KEYWORD
    ]
    for name in own:
        one_of(f"{where}: argument", name, known)


def _check_together(named: list[Named], at: str) -> None:
    whole = [name for name, entry, _ in named if entry.whole]
    if whole and len(named) > 1:
        others = [name for name, _, _ in named if name != whole[0]]
        raise ValueError(
            f"{at}: {whole[0]} is an algorithm of its own, beside which there is no "
            f"{others[0]}; expected it alone, or terms"
        )
    streams = {entry.streams for _, entry, _ in named}
    if len(streams) > 1:
        raise ValueError(
            f"{at}: {' and '.join(n for n, _, _ in named)} read different streams; "
            "give each a phase"
        )


def _cast(casts: list) -> Cast:
    def cast(key: Key, player: Player) -> dict[str, Player]:
        players = {PLAYER: player}
        for extra in casts:
            found = extra(key, player)
            if taken := players.keys() & found.keys():
                raise ValueError(f"two methods bring a player {sorted(taken)[0]!r}")
            players |= found
        return players

    return cast


def _made(
    named: list[Named], at: str, setting: Setting, players: Mapping[str, Player]
) -> Algorithm:
    """The algorithm of terms, or the one that is named."""
    from experiments.algorithms import counted

    known = dict(
        steps=setting.steps,
        weigh=setting.task.weigh,
        clip=setting.clip,
        labelled=setting.opened,
        joint=setting.joint,
        clock=f"clock/{setting.phase}",
    )
    task = {"loss": setting.task.loss, "weigh": setting.task.weigh}
    task |= setting.counts
    name, entry, own = named[0]
    if entry.whole:
        whole = task | known | {"players": players}
        own = _taken(entry, whole | {"weigh": counted(task["weigh"])}) | own
        made = called(entry.make, entry.given(own, players), f"{at}.{name}")
    else:
        terms = {
            name: called(
                entry.make,
                entry.given(_taken(entry, task) | own, players),
                f"{at}.{name}",
            )
            for name, entry, own in named
        }
        made = adapted(players, setting.task.loss, terms, main=PLAYER, **known)
    if setting.augment is None:
        return made
    return augmented_steps(made, setting.augment, None)


def _taken(entry: Entry, offered: Mapping[str, Any]) -> dict[str, Any]:
    """What a method takes of what a run knows."""
    takes = inspect.signature(entry.make).parameters
    return {name: value for name, value in offered.items() if name in takes}
