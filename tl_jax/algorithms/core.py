"""How a run goes: stages over a state, and algorithms made of them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax.algorithms.groups import chosen, grouped, part_of, regrouped, updated
from tl_jax.algorithms.rules import plain
from tl_jax.optim import by_rate
from tl_jax.transfer.plan import trainable
from tl_jax.tree import (
    carry,
    copy,
    merge,
    partition,
    stable_key,
)
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    GradientRule,
    Key,
    Metrics,
    Objective,
    Outputs,
    Params,
    Player,
    Stage,
    State,
)

Players = Mapping[str, Player]
Predict = Callable[[State, Frozen, Batch], Outputs]
Parts = Mapping[str, str]
"""Player -> the rule of paths whose leaves are meant."""
WHOLE: Parts = MappingProxyType({})


def algorithm(
    players: Players, stages: Stage, predict: Predict, apart: Parts = WHOLE
) -> Algorithm:
    """An `Algorithm` whose step is `stages` and whose evaluation is `predict`.

    `players` give names, optimisers and rates; the arrays come with `init`. Statistics
    of batch norm live in `memory["stats"]`, by player. Leaves that `apart` names have
    an optax state of their own, so that `descend` can move them or the rest alone;
    `NoMatch` where none of them moves.
    """

    def init(key: Key, players: Players) -> tuple[State, Frozen]:
        train, frozen, opt, stats = {}, {}, {}, {}
        for name, player in players.items():
            plan = player.plan
            chosen = trainable(plan.rates)
            moving, frozen[name] = partition(plan.params, chosen)
            train[name], stats[name] = copy(moving), copy(plan.stats)
            opt[name] = grouped(scaled(player), train[name], apart.get(name))
        memory = {"stats": stats} | stages.init(key, train, frozen)
        return State(jnp.zeros((), jnp.int32), train, opt, memory), frozen

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        state, metrics = stages.step(state, frozen, batch, key)
        return state._replace(step=state.step + 1), metrics

    return Algorithm(init, step, predict)


def sequence(*stages: Stage) -> Stage:
    """Stages one after another, each with a key of its own place."""

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        memory: dict[str, Any] = {}
        for i, stage in enumerate(stages):
            new = stage.init(stable_key(key, str(i)), train, frozen)
            if taken := memory.keys() & new.keys():
                raise ValueError(f"two stages keep {sorted(taken)} in memory")
            memory |= new
        return memory

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        metrics: Metrics = {}
        for i, stage in enumerate(stages):
            state, new = stage.step(state, frozen, batch, stable_key(key, str(i)))
            metrics |= new
        return state, metrics

    return Stage(init, step)


def descend(
    players: Players,
    objective: Objective,
    grad: GradientRule = plain,
    only: Parts = WHOLE,
) -> Stage:
    """One gradient step of the players on the objective, each by its own optimiser.

    The objective sees the merged parameters of all players of the state; only those
    named here get a gradient, and of a player in `only` the leaves that its rule
    matches, which must be `apart` in the algorithm. Optax transformations receive
    `value`, `grad`, `value_fn` and the global `step`.
    """
    optimisers = {name: scaled(player) for name, player in players.items()}

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        return {}

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        def f(train: dict[str, Params], batch: Batch, key: Key):
            moving = state.train | {
                n: merge(t, state.train[n]) for n, t in train.items()
            }
            params_of = {name: merge(moving[name], frozen[name]) for name in moving}
            value, (memory, metrics) = objective(params_of, state.memory, batch, key)
            return value, (_changed(memory, state.memory), metrics)

        groups = {n: chosen(n, state.opt[n], only.get(n)) for n in optimisers}
        train = {n: part_of(state.train[n], groups[n]) for n in optimisers}
        (value, (memory, metrics)), grads = grad(f, train, batch, key)
        new_train, new_opt = dict(state.train), dict(state.opt)
        for name, tx in optimisers.items():

            def value_fn(own: Params, name: str = name) -> Array:
                return f(train | {name: own}, batch, key)[0].sum()

            new_train[name], moved = updated(
                tx, groups[name], state.train[name], grads[name], value, value_fn, state
            )
            new_opt[name] = state.opt[name] | moved
        old = state.memory
        memory = old | {n: merge(m, old.get(n, m)) for n, m in memory.items()}
        return state._replace(train=new_train, opt=new_opt, memory=memory), metrics

    return Stage(init, step)


def _changed(memory: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What an objective wrote, with holes elsewhere: no rule may average the rest."""

    def written(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: None if a is b else a, new, old)

    return memory | {n: written(memory[n], before[n]) for n in memory.keys() & before}


def ema(source: str, target: str, decay: float | Callable[[Array], Array]) -> Stage:
    """memory[target] <- decay memory[target] + (1 - decay) train[source].

    Of the moving leaves only. `decay` may be a function of the step: (step) ->
    step / (step + 1) is the plain average of all iterates (Polyak and Juditsky, 1992).
    """

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        return {target: copy(train[source])}

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        kept = decay(state.step) if callable(decay) else decay
        new = mixed(kept, state.memory[target], state.train[source])
        return state._replace(memory=state.memory | {target: new}), {}

    return Stage(init, step)


def counting(name: str) -> Stage:
    """memory[name] counts the steps: for objectives that change as training goes on."""

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        return {name: jnp.zeros((), jnp.int32)}

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        count = {name: state.memory[name] + 1}
        return state._replace(memory=state.memory | count), {}

    return Stage(init, step)


def mixed(kept: float | Array, old: Any, new: Any) -> Any:
    """kept old + (1 - kept) new, leaf by leaf."""
    return jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, old, new)


def replan(
    algorithm: Algorithm, key: Key, players: Players, state: State
) -> tuple[State, Frozen]:
    """Go on from `state` under the new plans of `players`, between two steps.

    The players' parameters must be the current ones (`merge` of train and frozen).
    `algorithm` is the one built for the new plans. Leaves that stay open keep their
    optax state; newly opened ones get a fresh group; closed ones lose theirs. Memory
    is carried over where path, shape and dtype agree. The step goes on. With `opt={}`
    in `state` all leaves begin anew as one group: a line search (L-BFGS) wants that.
    """
    new, frozen = algorithm.init(key, players)
    opt = {
        name: regrouped(
            scaled(player), new.train[name], new.opt[name], state.opt.get(name, {})
        )
        for name, player in players.items()
    }
    memory = carry(state.memory, new.memory)
    stats = {name: copy(player.plan.stats) for name, player in players.items()}
    memory = memory | {"stats": stats}
    return new._replace(step=state.step, opt=opt, memory=memory), frozen


def current(player: Player, name: str, state: State, frozen: Frozen) -> Player:
    """The player with the state's parameters and statistics in its plan."""
    params = merge(state.train[name], frozen[name])
    moved = state.memory["stats"][name]
    return player._replace(plan=player.plan._replace(params=params, stats=moved))


def scaled(player: Player) -> optax.GradientTransformationExtraArgs:
    """The player's optimiser with its updates scaled by the plan's rates.

    Always of one form, so that an optax state fits whatever the rates become.
    """
    rates = player.plan.rates
    moving, _ = partition(rates, trainable(rates))
    return optax.chain(player.tx, by_rate(moving))
