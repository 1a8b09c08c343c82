"""Algorithms of a config: who plays beside the model, and what minimises what."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.tasks import EPISODIC, Task
from tl_jax.algorithms import augmented_steps, averaged, supervised
from tl_jax.algorithms.adaptation import importance
from tl_jax.algorithms.penalised import Penalties
from tl_jax.types import Algorithm, Array, Augment, Key, Player, Stream

PLAYER = "model"
"""The player that every strategy has; its weights are the run's result."""


class Setting(NamedTuple):
    """What all algorithms of a run share."""

    task: Task
    augment: Augment | None = None
    accumulate: int = 1
    average: float | None = None
    clip: float | None = None
    penalties: Penalties = MappingProxyType({})
    """What is added to the loss over rows."""
    parts: int = 1
    """Devices that share a batch's first axis."""
    draw: Callable | None = None
    """Draws episodes on the device, from numbers of tasks."""
    ways: int = 0
    """Classes of an episode, at most."""
    steps: int = 0
    """Of the phase."""
    phase: str = "train"
    opened: bool = False
    """Whether labels of the target domain are open."""
    joint: bool = True
    """Whether domains pass the model in one batch."""
    counts: Mapping[str, int] = MappingProxyType({})
    """Arguments of methods that keep something of every example."""


Make = Callable[[Setting, Mapping[str, Player]], Algorithm]
Cast = Callable[[Key, Player], dict[str, Player]]


class Recipe(NamedTuple):
    """How a phase makes its algorithm."""

    make: Make
    cast: Cast
    """(key, the model's player) -> all players."""
    head: str = "classes"
    """How wide the model's head is: `classes` of the data, `ways` of an episode, or
    `none`, where nothing reads one."""
    batches: str = "train"
    """What a step reads: `train`, rows of the data, `episodes`, `domains`, or one of
    these alone, `source` or `target`."""
    steps: Callable[[int], Make] | None = None
    """(number of adaptation steps) -> the same with predictions after so many."""


def alone(key: Key, player: Player) -> dict[str, Player]:
    """The model plays by itself."""
    return {PLAYER: player}


def algorithm_of(make: Make, setting: Setting, players: Mapping[str, Player]):
    """The algorithm that a recipe makes, with what holds whatever it is."""
    made = make(setting, players)
    return made if setting.average is None else averaged(made, setting.average)


def make_supervised(setting: Setting, players: Mapping[str, Player]) -> Algorithm:
    """What minimises the task's loss over rows."""
    made = supervised(
        players,
        setting.task.loss,
        weigh=counted(setting.task.weigh),
        accumulate=setting.accumulate,
        clip=setting.clip,
        penalties=setting.penalties,
    )
    if setting.augment is None:
        return made
    return augmented_steps(made, setting.augment)


def counted(weigh: Callable[[Stream], Array]) -> Callable[[Stream], Array]:
    """The task's weights times the column `importance`, where there is one."""
    return lambda stream: weigh(stream) * importance(stream)


SUPERVISED = Recipe(make_supervised, alone)


def recipe_of(phase: Mapping[str, Any], at: str, config: ConfigDict) -> Recipe:
    """The recipe of a phase: supervised, or what its `learner` or `adapt` table says.

    Raises with the place in the config and the nearest name.
    """
    from experiments.learners import few_shot
    from experiments.shift.recipes import adaptation

    table, train, task = phase["learner"], phase["train"], config.task
    if phase["adapt"] and (table or train):
        field = "learner" if table else "train"
        raise ValueError(
            f"config.{at}: adapt and {field} are both given, expected one of them"
        )
    if phase["adapt"]:
        return adaptation(phase["adapt"], f"config.{at}.adapt", config)
    if task in EPISODIC:
        return few_shot(table, train, at, task)
    if table or train:
        field = "learner" if table else "train"
        raise ValueError(
            f"config.{at}.{field} is given, but config.task is {task!r}: learners of "
            f"episodes belong to {' and '.join(EPISODIC)}"
        )
    return SUPERVISED
