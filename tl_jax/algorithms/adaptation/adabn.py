"""AdaBN: the target's own statistics in the batch norms of a trained model."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.adapted import guarded, predicting
from tl_jax.algorithms.adaptation.streams import TARGET
from tl_jax.algorithms.core import Players, algorithm, sequence
from tl_jax.nn import Fixed, Running, Watched, pooled
from tl_jax.tree import matches, merge
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    Key,
    Model,
    Params,
    Player,
    State,
    Stats,
    Stream,
)

COUNTED = "adabn"
"""Where `memory` holds the moments of a round that is not over."""


class Moments(NamedTuple):
    """Moments of rows so far at one site."""

    count: Array
    """[] the sum of their weights."""
    mean: Array
    var: Array


def target_statistics(
    model: Model,
    params: Params,
    stats: Stats,
    stream: Stream,
    *,
    where: str = ".*",
    rounds: int | None = None,
) -> Stats:
    """The statistics that a whole domain shows to each batch norm (Li et al., 2017).

    Of batches [K B ...] of `inputs` and `weight`, rows of weight 0 left out, exactly as
    if all were one batch: its mean and biased variance, each layer's behind layers that
    are already normalised by theirs. One round over the batches settles one layer more;
    as many as there are batch norms (the default) settle all, for one batch or many.
    Fewer are an approximation, as is what momentum gathers, where every layer sees
    batches normalised by themselves. A node keeps its kind: `Fixed` statistics of
    frozen sites change here too. `where` chooses sites, others keep theirs.

    pytorch-adapt's AdaBN keeps two momentum averages, one a domain, while it trains;
    TLlib has none. Raises `NoMatch` for a rule or a model without batch norms.
    """
    sites = matches(where, stats, "target_statistics: where")

    def round_over(_: Array, stats: Stats) -> Stats:
        def batch(moments: Mapping[str, Moments], own: Stream):
            seen = row_moments(model, params, stats, own, sites)
            return joined(moments, seen), None

        moments, _ = jax.lax.scan(batch, nothing_yet(stats, sites), dict(stream))
        return with_moments(stats, moments)

    count = len(sites) if rounds is None else rounds
    return jax.lax.fori_loop(0, count, round_over, stats)


def adabn(
    players: Players, *, period: int, where: str = ".*", main: str = "model"
) -> Algorithm:
    """AdaBN over a stream: every `period` steps the statistics become the target's.

    Steps see `{"target": stream}` alone and move no weight. Between two changes they
    gather the moments of their rows in memory["adabn"], under the statistics of the
    last change: with `period` steps an epoch of the target, as many epochs as there are
    batch norms give `target_statistics` itself. `predict` uses what was changed last.

    Raises `LeakedLabels` for labels of the target, ValueError for a period below 1,
    `NoMatch` for a rule or a model without batch norms.
    """
    if period < 1:
        raise ValueError(f"adabn: period is {period}, expected at least 1")
    model = players[main].model
    sites = matches(where, players[main].plan.stats, "adabn: where")

    def init(key: Key, players: Mapping[str, Player]) -> tuple[State, Frozen]:
        state, frozen = made.init(key, players)
        fresh = nothing_yet(state.memory["stats"][main], sites)
        return state._replace(memory=state.memory | {COUNTED: fresh}), frozen

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        stats = state.memory["stats"][main]
        params = merge(state.train[main], frozen[main])
        seen = row_moments(model, params, stats, batch[TARGET], sites)
        moments = joined(state.memory[COUNTED], seen)
        over = (state.step + 1) % period == 0
        new, rest = with_moments(stats, moments), nothing_yet(stats, sites)
        stats, moments = jax.tree.map(
            lambda a, b: jnp.where(over, a, b), (new, rest), (stats, moments)
        )
        own = {"stats": state.memory["stats"] | {main: stats}, COUNTED: moments}
        state = state._replace(step=state.step + 1, memory=state.memory | own)
        return state, {"loss": jnp.float32(0), "adabn/rows": seen[sites[0]].count}

    made = algorithm(players, sequence(), predicting(players, main))
    return guarded(Algorithm(init, step, made.predict), False, (TARGET,))


def row_moments(
    model: Model, params: Params, stats: Stats, stream: Stream, sites: list[str]
) -> dict[str, Moments]:
    """Moments of a batch's rows at some sites, under the statistics as they are.

    Raises ValueError for a model whose batch norms don't measure rows.
    """
    watched = {at: Watched(stats[at].mean, stats[at].var) for at in sites}
    _, rows = model.apply(params, stats | watched, stream["inputs"])
    weight, found = stream["weight"], {}
    for at in sites:
        if not isinstance(rows[at], Running) or rows[at].mean.ndim != 2:
            raise ValueError(
                f"adabn: the batch norm {at!r} doesn't measure rows; those of "
                "tl_jax.nn do, a foreign module's do not"
            )
        own = pooled(rows[at], weight)
        found[at] = Moments(weight.sum(), own.mean, own.var)
    return found


def nothing_yet(stats: Stats, sites: list[str]) -> dict[str, Moments]:
    """Moments of no rows."""
    zeros = {at: jnp.zeros_like(stats[at].mean) for at in sites}
    return {
        at: Moments(jnp.float32(0), z, jnp.zeros_like(z)) for at, z in zeros.items()
    }


def joined(
    first: Mapping[str, Moments], second: Mapping[str, Moments]
) -> dict[str, Moments]:
    """Moments of the rows of both (Chan et al., 1979)."""

    def one(a: Moments, b: Moments) -> Moments:
        count = a.count + b.count
        share = b.count / jnp.maximum(count, 1e-12)
        gap = b.mean - a.mean
        var = (1 - share) * a.var + share * b.var
        var = var + share * (1 - share) * jnp.square(gap)
        return Moments(count, a.mean + share * gap, var)

    return {at: one(first[at], second[at]) for at in first}


def with_moments(stats: Stats, moments: Mapping[str, Moments]) -> Stats:
    """Statistics with those that were measured, each node of its old kind."""

    def chosen(old: Running | Fixed, own: Moments) -> Running | Fixed:
        there = own.count > 0
        mean = jnp.where(there, own.mean, old.mean)
        return type(old)(mean, jnp.where(there, own.var, old.var))

    return stats | {at: chosen(stats[at], own) for at, own in moments.items()}
