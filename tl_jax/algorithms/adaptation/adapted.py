"""Learn from one domain for another: a supervised loss, and terms over both."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.forward import Sides, forward
from tl_jax.algorithms.adaptation.seen import Before, Found, Run, Seen, Terms
from tl_jax.algorithms.adaptation.streams import (
    LABELLED,
    SOURCE,
    TARGET,
    importance,
    sealed,
)
from tl_jax.algorithms.core import Players, algorithm, counting, descend, sequence
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.tree import merge, stable_key
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    Key,
    Metrics,
    Outputs,
    Player,
    State,
)

TERMS = "terms"
"""Where `memory` holds what terms keep, by name."""
CLOCK = "adaptation"
"""Where `memory` counts the steps of adaptation."""


def adapted(
    players: Players,
    loss: Loss,
    terms: Terms = MappingProxyType({}),
    *,
    steps: int,
    weigh: Weigh = weight_of,
    labelled: bool = False,
    joint: bool = True,
    clip: float | None = None,
    main: str = "model",
    clock: str = CLOCK,
) -> Algorithm:
    """Minimise the source's loss plus terms over both domains, all players together.

    sum_i w_i loss_i / sum_i w_i + sum_t term_t(source, target)

    Batches are `{"source": stream, "target": stream without labels}`; i runs over the
    source and, if it is opened by `labelled`, over `target_labelled`; w is `weigh`'s
    times the input column `importance`. Without a source the terms alone count. A term
    sees the outputs of `main`, and runs any player beside it (`seen.Seen`); all players
    descend at once, adversaries behind a reversed gradient. `joint` as in `forward`.
    `steps` is what a term's progress is a share of: the count stands in memory[clock].

    Raises `LeakedLabels` for labels of the target that were not opened.
    """
    for term in terms.values():
        term.check(players)
    model = players[main].model

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        run = runner(players, params_of, memory)
        progress = jnp.minimum(memory[clock] / max(steps, 1), 1.0)
        before = {
            name: Before(
                *(params_of, memory, memory[TERMS].get(name), progress),
                *(stable_key(key, "term", name), run),
            )
            for name in terms
        }
        for name, term in terms.items():
            if term.prepare is not None:
                batch = term.prepare(before[name], batch)
        sides, moved = forward(
            model, params_of[main], memory["stats"][main], batch, key, joint
        )
        value = supervised_mean(loss, weigh, sides)
        stats = {**memory["stats"], main: moved}
        found = {
            name: _found(term.value(_seen(before[name], sides)))
            for name, term in terms.items()
        }
        kept = {
            name: memory[TERMS][name] if own.own is None else own.own
            for name, own in found.items()
            if name in memory[TERMS]
        }
        for own in found.values():
            stats |= own.stats
        total = value + sum(own.value for own in found.values())
        metrics = {"loss": total, "supervised": value} | _logged(found)
        return total, (memory | {"stats": stats, TERMS: kept}, metrics)

    rule = plain if clip is None else clipped(clip, plain)
    after = (stage for term in terms.values() for stage in term.stages(players))
    stages = sequence(descend(players, objective, rule), *after, counting(clock))
    made = algorithm(players, stages, predicting(players, main))
    return guarded(keeping(made, terms), labelled)


def supervised_mean(loss: Loss, weigh: Weigh, sides: Sides) -> Array:
    """The weighted mean loss over all rows whose labels may be seen, 0 of none."""
    total = count = jnp.float32(0)
    for name in (SOURCE, LABELLED):
        if name in sides:
            stream = sides[name].stream
            weight = weigh(stream) * importance(stream)
            total += (weight * loss(sides[name].outputs, stream)).sum()
            count += weight.sum()
    return total / jnp.maximum(count, 1e-12)


def runner(players: Players, params_of: Mapping, memory: Mapping[str, Any]) -> Run:
    """What runs any player's model with its present weights and statistics."""

    def run(player: str, inputs, *, key=None, norm="batch", params=None, stats=None):
        whole = params_of[player] if params is None else params
        stats = memory["stats"][player] if stats is None else stats
        return players[player].model.apply(whole, stats, inputs, key=key, norm=norm)

    return run


def predicting(players: Players, main: str = "model") -> Callable[..., Outputs]:
    """Outputs of one player for the stream `query`."""
    model = players[main].model

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        params = merge(state.train[main], frozen[main])
        stats = state.memory["stats"][main]
        return model.apply(params, stats, batch["query"]["inputs"])[0]

    return predict


def guarded(made: Algorithm, labelled: bool, needs: tuple[str, ...] = ()) -> Algorithm:
    """The algorithm, whose steps see no label of the target that was not opened."""

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        return made.step(state, frozen, sealed(batch, labelled, needs), key)

    return made._replace(step=step)


def keeping(made: Algorithm, terms: Terms) -> Algorithm:
    """The algorithm, whose memory holds what its terms keep."""

    def init(key: Key, players: Mapping[str, Player]) -> tuple[State, Frozen]:
        state, frozen = made.init(key, players)
        kept = {
            name: term.init(stable_key(key, "term", name), players)
            for name, term in terms.items()
        }
        kept = {name: own for name, own in kept.items() if own is not None}
        return state._replace(memory=state.memory | {TERMS: kept}), frozen

    return made._replace(init=init)


def _seen(before: Before, sides: Sides) -> Seen:
    named = (sides.get(name) for name in (SOURCE, TARGET, LABELLED))
    return Seen(*before, *named)


def _found(given: Found | Array) -> Found:
    return given if isinstance(given, Found) else Found(given)


def _logged(found: Mapping[str, Found]) -> Metrics:
    logged = {f"term/{name}": own.value for name, own in found.items()}
    for name, own in found.items():
        logged |= {f"{name}/{what}": value for what, value in own.metrics.items()}
    return logged
