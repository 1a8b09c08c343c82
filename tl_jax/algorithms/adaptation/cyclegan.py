"""CycleGAN: pictures of one domain in the look of the other, without pairs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.adapted import guarded, predicting
from tl_jax.algorithms.adaptation.pool import empty_pool, query
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.losses.translation import difference, least_squares
from tl_jax.tree import no_match, stable_key
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    Key,
    Metrics,
    Objective,
    Outputs,
    Stage,
    State,
    Stream,
)

TO_TARGET, TO_SOURCE = "to_target", "to_source"
"""Generators: what each makes is in its name."""
TARGET_CRITIC, SOURCE_CRITIC = "target_critic", "source_critic"
"""Discriminators: real pictures of their domain against those made for it."""
NEEDED = (TO_TARGET, TO_SOURCE, TARGET_CRITIC, SOURCE_CRITIC)
POOLS, SHOWN = "pools", "shown"
"""In memory: pictures made before; those of this step, while it lasts."""


class Translated(NamedTuple):
    """What a consistency loss sees of a step; gradients reach the translations."""

    source: Stream
    target: Stream
    to_target: Array
    """[B H W C] the source's pictures, translated."""
    to_source: Array
    """[B H W C] the target's pictures, translated."""
    run: Callable[..., Outputs]
    """`run(player, inputs)`: a player's model in evaluation."""


Consistency = Callable[[Translated], Array]
"""`(translated) -> []`, its strength included."""


def cyclegan(
    players: Players,
    *,
    shape: tuple[int, int, int],
    cycle: float = 10.0,
    identity: float = 5.0,
    pool: int = 50,
    consistencies: Mapping[str, Consistency] = MappingProxyType({}),
    clip: float | None = None,
    main: str = TO_TARGET,
) -> Algorithm:
    """Two generators, then two discriminators descend (Zhu et al., 2017).

    With G = to_target, F = to_source, and least squares for D (Mao et al., 2017):

    G, F:  (D_T(G(s)) - 1)^2 + (D_S(F(t)) - 1)^2 + cycle (|F(G(s)) - s| + |G(F(t)) - t|)
           + identity (|G(t) - t| + |F(s) - s|) + consistencies
    D_T:   ((D_T(t) - 1)^2 + D_T(pooled G(s))^2) / 2, and D_S alike,

    means over pixels in -1..1, patches and rows of the batch by weight. Discriminators
    see the translations of before this step's descent, through a pool of `pool`
    earlier ones each (`pool.query`). Batches hold `source` and `target` with `image`
    [B H W C] in 0..255, `shape` the last three; labels are not read, but a consistency
    (`semantic`) may. Players have optimisers, so rates, of their own; a generator's
    `hidden[-1]` is its picture, a discriminator's `logits` are [B P]. Other players
    don't move. `predict` gives the outputs of `main`.

    TLlib does the same with one Adam over both generators and one over both
    discriminators, which is the same step; CyCADA adds a task's network that learns
    meanwhile (`cycada`; or afterwards, by the term `translated`).

    Raises `NoMatch` for a missing player, ValueError for no size or strength.
    """
    stages = translation(
        players,
        shape=shape,
        cycle=cycle,
        identity=identity,
        pool=pool,
        consistencies=consistencies,
        clip=clip,
    )
    if main not in players:
        raise no_match("player", main, players)
    stages = sequence(*stages, forgetting(SHOWN))
    made = algorithm(players, stages, predicting(players, main))
    return guarded(made, False, needs=(SOURCE, TARGET))


def translation(
    players: Players,
    *,
    shape: tuple[int, int, int],
    cycle: float = 10.0,
    identity: float = 5.0,
    pool: int = 50,
    consistencies: Mapping[str, Consistency] = MappingProxyType({}),
    clip: float | None = None,
) -> tuple[Stage, ...]:
    """The stages of `cyclegan`, behind which memory[SHOWN] is (to_target, to_source).

    They are of before the descent; a later stage takes them out (`forgetting`).
    """
    for name in NEEDED:
        if name not in players:
            raise no_match("player", name, players)
    if pool < 0 or cycle < 0 or identity < 0 or len(shape) != 3:
        raise ValueError(
            f"pool={pool}, cycle={cycle}, identity={identity}, shape={shape}: expected "
            "none below 0, and (height, width, channels)"
        )
    rule = plain if clip is None else clipped(clip, plain)
    makers, judges = (
        {name: players[name] for name in names}
        for names in ((TO_TARGET, TO_SOURCE), (TARGET_CRITIC, SOURCE_CRITIC))
    )
    generators = _generating(players, cycle, identity, consistencies)
    return (
        _pools(pool, tuple(shape)),
        descend(makers, generators, rule),
        descend(judges, _judging(players), rule),
    )


def _generating(
    players: Players,
    cycle: float,
    identity: float,
    consistencies: Mapping[str, Consistency],
) -> Objective:
    """What both generators minimise."""

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        run = _Runner(players, params_of, dict(memory["stats"]))
        streams = batch[SOURCE], batch[TARGET]
        value, shown, metrics = _made(run, *streams, cycle, identity)
        for name, consistency in consistencies.items():
            translated = Translated(*streams, *shown, run.evaluated)
            metrics[f"term/{name}"] = own = consistency(translated)
            value += own
        held = jax.tree.map(jax.lax.stop_gradient, shown)
        memory = memory | {"stats": run.stats, SHOWN: held}
        return value, (memory, metrics | {"generators": value})

    return objective


def _judging(players: Players) -> Objective:
    """What both discriminators minimise."""

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        run = _Runner(players, params_of, dict(memory["stats"]))
        pools, value, metrics = {}, jnp.float32(0), {}
        sides = (TARGET_CRITIC, TARGET, SOURCE), (SOURCE_CRITIC, SOURCE, TARGET)
        for made, (critic, real, origin) in zip(memory[SHOWN], sides, strict=True):
            own, weight = stable_key(key, critic), batch[origin]["weight"]
            pools[critic], old = query(memory[POOLS][critic], own, made, weight)
            right = least_squares(run.logits(critic, batch[real]["inputs"]), True)
            wrong = least_squares(run.logits(critic, {"image": old}), False)
            seen = _mean(batch[real]["weight"], right) + _mean(weight, wrong)
            metrics[critic] = seen / 2
            value += seen / 2
        return value, (memory | {"stats": run.stats, POOLS: pools}, metrics)

    return objective


class _Runner(NamedTuple):
    """Passes of the players; each writes the statistics that it moves into `stats`."""

    players: Players
    params_of: Mapping[str, Any]
    stats: dict[str, Any]

    def _run(self, name: str, inputs: Mapping, norm: str) -> Outputs:
        params, model = self.params_of[name], self.players[name].model
        outputs, moved = model.apply(params, self.stats[name], inputs, norm=norm)
        if norm == "batch":
            self.stats[name] = moved
        return outputs

    def evaluated(self, name: str, inputs: Mapping) -> Outputs:
        return self._run(name, inputs, "running")

    def picture(self, name: str, image: Array) -> Array:
        return self._run(name, {"image": image}, "batch").hidden[-1]

    def logits(self, name: str, inputs: Mapping) -> Array:
        return self._run(name, {"image": inputs["image"]}, "batch").logits


def _made(
    run: _Runner, source: Stream, target: Stream, cycle: float, identity: float
) -> tuple[Array, tuple[Array, Array], Metrics]:
    """The generators' loss, (to_target, to_source), and the loss's parts."""
    sides = (
        (source, TO_TARGET, TO_SOURCE, TARGET_CRITIC),
        (target, TO_SOURCE, TO_TARGET, SOURCE_CRITIC),
    )
    value, shown, metrics = jnp.float32(0), [], {}
    for stream, there, back, critic in sides:
        image, weight = stream["inputs"]["image"], stream["weight"]
        made = run.picture(there, image)
        shown.append(made)
        fooled = least_squares(run.logits(critic, {"image": made}), True)
        parts = {f"fooled/{there}": _mean(weight, fooled)}
        returned = difference(run.picture(back, made), image)
        parts[f"cycle/{back}"] = cycle * _mean(weight, returned)
        if identity:
            same = difference(run.picture(back, image), image)
            parts[f"identity/{back}"] = identity * _mean(weight, same)
        value += sum(parts.values())
        metrics |= parts
    return value, tuple(shown), metrics


def _mean(weight: Array, values: Array) -> Array:
    return (weight * values).sum() / jnp.maximum(weight.sum(), 1e-12)


def _pools(size: int, shape: tuple[int, int, int]) -> Stage:
    """Holds the pools and does nothing."""

    def init(key: Key, train: dict, frozen: dict) -> dict[str, Any]:
        names = (TARGET_CRITIC, SOURCE_CRITIC)
        return {POOLS: {name: empty_pool(size, shape) for name in names}}

    return Stage(init, lambda state, frozen, batch, key: (state, {}))


def forgetting(name: str) -> Stage:
    """Takes out of memory what lasts a step, so that its structure stays."""

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        kept = {own: held for own, held in state.memory.items() if own != name}
        return state._replace(memory=kept), {}

    return Stage(lambda key, train, frozen: {}, step)
