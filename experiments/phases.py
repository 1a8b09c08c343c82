"""The algorithm of each phase of a strategy, and what it holds, by shapes alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments.algorithms import Setting, algorithm_of
from experiments.episode_settings import ways_of
from experiments.plans import next_plan
from experiments.shift.settings import shift_of
from experiments.strategies import Phase, Strategy
from experiments.tasks import Task
from tl_jax.distribute import Layout
from tl_jax.types import Algorithm, Augment, Frozen, Key, Model, Plan, Player, State


def setting_of(
    config: ConfigDict,
    task: Task,
    strategy: Strategy,
    phase: Phase,
    augment: Augment | None,
    **more: Any,
) -> Setting:
    """What the phase's algorithm shares with all others."""
    own = strategy.accumulate, strategy.average, phase.clip, phase.added.penalties
    of_phase = dict(steps=phase.steps, phase=phase.name, ways=ways_of(config))
    more |= dict(opened=bool(strategy.shift.opened), joint=shift_of(config).joint)
    return Setting(task, augment, *own, **of_phase, **more)


def cast_of(phase: Phase, key: Key, model: Model, plan: Plan, first: int):
    """All players of a phase: the model under its plan, and who its recipe adds."""
    return phase.recipe.cast(key, Player(model, plan, phase.tx(first)))


class Held(NamedTuple):
    """A phase: real rates and algorithm, shapes in place of arrays."""

    phase: Phase
    plan: Plan
    algorithm: Algorithm
    state: State
    frozen: Frozen


def held(
    config: ConfigDict,
    strategy: Strategy,
    task: Task,
    augment: Augment | None,
    model: Model,
    first: Callable[[], Plan],
    *,
    parts: int = 1,
    counts: Mapping[str, int] = MappingProxyType({}),
) -> list[Held]:
    """What every phase of a strategy holds; `first` makes the plan before them.

    `parts` is the number of devices that share a batch; `counts` are the problem's.
    Nothing is allocated. Raises as the strategy's transforms do.
    """
    static: list[tuple[Phase, Any, Algorithm]] = []

    def build() -> list[tuple]:
        key, plan, found = jax.random.key(0), first(), []
        for phase in strategy.phases:
            plan = next_plan(config, phase, key, plan)
            players = cast_of(phase, key, model, plan, 0)
            of = config, task, strategy, phase, augment
            setting = setting_of(*of, parts=parts, counts=counts)
            made = algorithm_of(phase.recipe.make, setting, players)
            static.append((phase, plan.rates, made))
            found.append((plan.params, plan.stats, *made.init(key, players)))
        return found

    return [
        Held(phase, Plan(params, rates, stats), made, state, frozen)
        for (phase, rates, made), (params, stats, state, frozen) in zip(
            static, jax.eval_shape(build), strict=True
        )
    ]


def idle_rules(layout: Layout, phases: list[Held]) -> tuple[str, ...]:
    """The user's rules that match no weight, moment or statistic of any phase."""
    return layout.unused([(phase.state, phase.frozen) for phase in phases])
