"""Supervised training: every kind of fine-tuning is this with another plan."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp

from tl_jax.algorithms.averaged import averaged
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.penalised import START, Penalties, remembered, seen_by, total
from tl_jax.algorithms.rules import accumulated, clipped, plain
from tl_jax.tree import merge
from tl_jax.types import Algorithm, Array, Batch, Frozen, Key, Outputs, State, Stream

Loss = Callable[[Outputs, Stream], Array]
Weigh = Callable[[Stream], Array]


def weight_of(stream: Stream) -> Array:
    """[B] the stream's own weights: 0 for padding."""
    return stream["weight"]


def supervised(
    players: Players,
    loss: Loss,
    *,
    weigh: Weigh = weight_of,
    accumulate: int = 1,
    clip: float | None = None,
    average: float | None = None,
    penalties: Penalties = MappingProxyType({}),
) -> Algorithm:
    """Minimise sum_i w_i loss_i / sum_i w_i over the stream `train`.

    `players` holds one player, whatever its name. `loss(outputs, stream) -> [B]`;
    `weigh(stream) -> [B]` gives w (class weights, tokens an example). `accumulate`
    microbatches a step; `clip` bounds the gradient's norm; `average` is the decay of
    an exponential average of the moving weights, which `predict` then uses
    (`averaged`). `penalties` are added, by name (`algorithms.penalties`); the metric
    `loss` is the sum, `supervised` what it is without them.
    """
    (name,) = players
    player = players[name]
    model = player.model

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        stream, stats = batch["train"], memory["stats"]
        outputs, moved = model.apply(
            params_of[name], stats[name], stream["inputs"], key=key, norm="batch"
        )
        weight = weigh(stream)
        value = (weight * loss(outputs, stream)).sum() / jnp.maximum(
            weight.sum(), 1e-12
        )
        metrics = {"loss": value}
        if penalties:
            begun = memory.get(START, {}).get(name)
            seen = seen_by(player, params_of[name], begun, outputs, stream, weight)
            more, metrics = total(penalties, seen)
            metrics |= {"supervised": value, "loss": value + more}
        memory = memory | {"stats": stats | {name: moved}}
        return metrics["loss"], (memory, metrics)

    rule = plain
    if accumulate > 1:
        rule = accumulated(accumulate, lambda batch: weigh(batch["train"]).sum())
    if clip is not None:
        rule = clipped(clip, rule)

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        params = merge(state.train[name], frozen[name])
        stats = state.memory["stats"][name]
        return model.apply(params, stats, batch["query"]["inputs"])[0]

    stages = sequence(descend(players, objective, rule))
    made = remembered(algorithm(players, stages, predict), penalties)
    return made if average is None else averaged(made, average)
