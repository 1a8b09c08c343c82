"""How a run goes: stages over a state, and algorithms made of them."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax.algorithms.rules import plain
from tl_jax.optim import by_rate
from tl_jax.transfer.plan import trainable
from tl_jax.tree import (
    carry,
    copy,
    flatten,
    map_with_path,
    merge,
    node,
    partition,
    stable_key,
    static,
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


@node
class Group:
    """Leaves that began to move together, and their optax state.

    Leaves opened later have a group of their own: under one shared Adam count of
    1,000, zero moments would step 2.5 times too far.
    """

    state: Any
    paths: tuple[str, ...] = static()

    def part(self, tree: Params) -> Params:
        """`tree` with holes where a leaf belongs to another group."""
        mine = set(self.paths)
        return map_with_path(lambda path, leaf: leaf if path in mine else None, tree)


def algorithm(players: Players, stages: Stage, predict: Predict) -> Algorithm:
    """An `Algorithm` whose step is `stages` and whose evaluation is `predict`.

    `players` give names, optimisers and rates; the arrays come with `init`. Statistics
    of batch norm live in `memory["stats"]`, by player.
    """

    def init(key: Key, players: Players) -> tuple[State, Frozen]:
        train, frozen, opt, stats = {}, {}, {}, {}
        for name, player in players.items():
            plan = player.plan
            chosen = trainable(plan.rates)
            moving, frozen[name] = partition(plan.params, chosen)
            train[name], stats[name] = copy(moving), copy(plan.stats)
            tx = scaled(player)
            opt[name] = {"0": _group(tx, train[name])}
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
    players: Players, objective: Objective, grad: GradientRule = plain
) -> Stage:
    """One gradient step of the players on the objective, each by its own optimiser.

    The objective sees the merged parameters of all players of the state; only those
    named here get a gradient. Optax transformations receive `value`, `grad`,
    `value_fn` and the global `step`.
    """
    optimisers = {name: scaled(player) for name, player in players.items()}

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        return {}

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        def f(train: dict[str, Params], batch: Batch, key: Key):
            moving = state.train | train
            params_of = {name: merge(moving[name], frozen[name]) for name in moving}
            value, (memory, metrics) = objective(params_of, state.memory, batch, key)
            return value, (_changed(memory, state.memory), metrics)

        train = {name: state.train[name] for name in optimisers}
        (value, (memory, metrics)), grads = grad(f, train, batch, key)
        new_train, new_opt = dict(state.train), dict(state.opt)
        for name, tx in optimisers.items():

            def value_fn(own: Params, name: str = name) -> Array:
                return f(train | {name: own}, batch, key)[0].sum()

            new_train[name], new_opt[name] = _update(
                tx, state.opt[name], train[name], grads[name], value, value_fn, state
            )
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
        name: _regroup(scaled(player), new.train[name], state.opt.get(name, {}))
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


def _group(tx: optax.GradientTransformation, part: Params) -> Group:
    """Leaves with a fresh state, its buffers apart: optax may share zeros in it."""
    return Group(copy(tx.init(part)), tuple(flatten(part)))


def _regroup(tx: Any, train: Params, groups: dict[str, Group]) -> dict[str, Group]:
    """Groups for `train`: the old ones less what closed, one more for what opened."""
    open_now, kept = set(flatten(train)), {}
    for name, group in groups.items():
        paths = tuple(path for path in group.paths if path in open_now)
        if paths:
            fresh = _group(tx, Group(None, paths).part(train))
            kept[name] = Group(carry(group.state, fresh.state), paths)
            open_now -= set(paths)
    if open_now:
        paths = tuple(path for path in flatten(train) if path in open_now)
        name = str(max((int(name) for name in groups), default=-1) + 1)
        kept[name] = _group(tx, Group(None, paths).part(train))
    return kept


def _update(tx, groups, train, grads, value, value_fn, state):
    """One optax update a group of leaves."""
    new = dict(groups)
    for name, group in groups.items():
        part = group.part(train)

        def own_value(part: Params, train: Params = train) -> Array:
            return value_fn(merge(part, train))

        updates, opt = tx.update(
            group.part(grads),
            group.state,
            part,
            value=value.sum(),
            grad=group.part(grads),
            value_fn=own_value,
            step=state.step,
        )
        train = merge(optax.apply_updates(part, updates), train)
        new[name] = Group(opt, group.paths)
    return train, new
