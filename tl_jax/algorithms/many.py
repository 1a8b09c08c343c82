"""Many runs of one algorithm in one step, over weights that they share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.transfer import pad_ranks
from tl_jax.tree import flatten, merge, node, one_of, same_bytes
from tl_jax.types import Algorithm, Array, Batch, Frozen, Key, Outputs, Player, State

Batching = Literal["auto", "map", "vmap"]
Runs = Sequence[Mapping[str, Player]]


@node
class Each:
    """A frozen leaf that differs by run. value [N ...]."""

    value: Array


def many(
    algorithm: Algorithm, *, batching: Batching = "auto", own_batches: bool = False
) -> Algorithm:
    """N runs of `algorithm` as one: its step moves all of them, compiled once.

    `init(key, runs)` takes N times the players, each with a plan and an optimiser of
    its own, where `algorithm` was built for any of them. Their plans have the same
    leaves and rates; values, seeds and adapters' scales differ freely. Ranks may, too:
    smaller ones are padded by zeros, which neither act nor get a gradient
    (`transfer.pad_ranks`). What of an optimiser differs must be in its state, as
    `optim.by_factor` has it and `optax.inject_hyperparams`. Frozen leaves that are the
    same bytes in all runs are held once; others are an `Each`.

    A state's leaves are [N ...], but for the step, which is one. Metrics are [N], and
    `predict` returns Outputs of [N B ...]. A key is one for all, so that each run draws
    as it would alone, or [N]. Batches are one for all, or with `own_batches` [N B ...].

    `batching` "vmap" makes wide products of all runs; "map" takes one run after another
    in one program and needs the memory of one. "auto" is "map" on CPUs, else "vmap".
    A step of 16 LoRAs of a BERT of two blocks, separately, by map and by vmap, in ms:
    width 16, 8 rows of 8 tokens 7.7, 5.3, 4.1; width 64, 8 of 16 23, 19, 20; width
    128, 16 of 32 223, 201, 357; 8 LoRAs of MiniLM's shape, 4 of 32 566, 564, 528
    (medians on two cores of an AMD EPYC, Zen 4, 2026-11-26). So map is at most 1.3
    times as slow as vmap, and up to 1.8 times as fast. On a GPU many was not timed;
    sixteen tasks of a Conv4 at once (`meta.episodic`) are six times as fast there as in
    turn.

    Raises `NoMatch` for an unknown batching; `init` ValueError where runs differ in
    more than that, with the path.
    """
    one_of("batching", batching, get_args(Batching))

    def init(key: Key, runs: Runs) -> tuple[State, Frozen]:
        runs = _padded(runs)
        _check_rates(runs)
        keys = each_key(key, len(runs))
        made = [algorithm.init(*pair) for pair in zip(keys, runs, strict=True)]
        states, frozen = zip(*made, strict=True)
        _check_structure(states)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        return stacked._replace(step=states[0].step), jax.tree.map(_shared, *frozen)

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        def one(own: State, frozen: Frozen, batch: Batch, key: Key):
            return algorithm.step(own._replace(step=state.step), frozen, batch, key)

        new, metrics = run(one, state, frozen, batch, each_key(key, count_of(state)))
        return new._replace(step=state.step + 1), metrics

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        def one(own: State, frozen: Frozen, batch: Batch, key: None) -> Outputs:
            return algorithm.predict(own._replace(step=state.step), frozen, batch)

        return run(one, state, frozen, batch, None)

    def run(one: Callable, state: State, frozen: Frozen, batch: Any, keys: Any) -> Any:
        each, shared = _split(frozen)
        rows = state._replace(step=None), each, keys, batch if own_batches else None

        def call(rows: tuple) -> Any:
            own, each, key, mine = rows
            return one(own, merge(each, shared), batch if mine is None else mine, key)

        if chosen(batching) == "map":
            return jax.lax.map(call, rows)
        return jax.vmap(call)(rows)

    return Algorithm(init, step, predict)


def chosen(batching: Batching) -> Batching:
    """What "auto" is on the devices at hand."""
    if batching != "auto":
        return batching
    return "map" if jax.default_backend() == "cpu" else "vmap"


def each_key(key: Key, count: int) -> Key:
    """[count] keys: one for all, or those that are given."""
    if key.ndim and len(key) != count:
        raise ValueError(f"{len(key)} keys for {count} runs; expected one, or as many")
    return key if key.ndim else jnp.broadcast_to(key, (count,))


def count_of(state: State) -> int:
    """Number of runs in a state of `many`."""
    return len(jax.tree.leaves(state.train)[0])


def one_of_many(state: State, frozen: Frozen, number: int) -> tuple[State, Frozen]:
    """State and frozen leaves of one run, as it would have them alone but for ranks."""
    each, shared = _split(frozen)
    own, each = jax.tree.map(
        lambda leaf: leaf[number], (state._replace(step=None), each)
    )
    return own._replace(step=state.step), merge(each, shared)


def _padded(runs: Runs) -> list[dict[str, Player]]:
    """The runs with patches of one shape, player by player."""
    names = set(runs[0])
    for i, run in enumerate(runs):
        if set(run) != names:
            raise ValueError(
                f"run {i} has players {sorted(run)}, run 0 {sorted(names)}"
            )
    made = [dict(run) for run in runs]
    for name in runs[0]:
        plans = pad_ranks([run[name].plan for run in runs])
        for run, plan in zip(made, plans, strict=True):
            run[name] = run[name]._replace(plan=plan)
    return made


def _check_rates(runs: Runs) -> None:
    """Raise where rates, which are static, differ."""
    for name, player in runs[0].items():
        first = flatten(player.plan.rates)
        for i, run in enumerate(runs):
            own = flatten(run[name].plan.rates)
            odd = [p for p in own.keys() | first.keys() if own.get(p) != first.get(p)]
            if odd:
                path = sorted(odd)[0]
                raise ValueError(
                    f"{name}/{path} has rate {own.get(path)} in run {i} and "
                    f"{first.get(path)} in run 0: plans of many runs have the same "
                    "leaves and rates; optim.by_factor scales all rates of a run"
                )


def _check_structure(states: Sequence[State]) -> None:
    """Raise where states can't be stacked: other optimisers, other static fields."""
    first = jax.tree.structure(states[0])
    for i, state in enumerate(states):
        if (own := jax.tree.structure(state)) != first:
            part = next(
                name
                for name, a, b in zip(State._fields, states[0], state, strict=True)
                if jax.tree.structure(a) != jax.tree.structure(b)
            )
            raise ValueError(
                f"run {i} has another structure in its {part} than run 0: "
                f"{own.num_leaves} leaves and {first.num_leaves}, or other settings "
                "of patches or optimisers, which are static"
            )


def _shared(*leaves: Array) -> Array | Each:
    """One leaf where all are the same, else all of them."""
    first = leaves[0]
    if all(leaf is first for leaf in leaves):
        return first
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
    if not traced and all(same_bytes(leaf, first) for leaf in leaves):
        return first
    return Each(jnp.stack(leaves))


def _is_each(leaf: Any) -> bool:
    return isinstance(leaf, Each)


def _split(frozen: Frozen) -> tuple[Any, Any]:
    """Arrays of what differs, and what is shared; holes on either side."""

    def pick(leaf: Any, mine: bool) -> Any:
        if not _is_each(leaf):
            return None if mine else leaf
        return leaf.value if mine else None

    each = jax.tree.map(lambda x: pick(x, True), frozen, is_leaf=_is_each)
    return each, jax.tree.map(lambda x: pick(x, False), frozen, is_leaf=_is_each)
