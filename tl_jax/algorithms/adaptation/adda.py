"""A target encoder learns to look like one that was trained on the source."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from tl_jax.algorithms.adaptation.adapted import guarded, predicting, supervised_mean
from tl_jax.algorithms.adaptation.critics import check_reader
from tl_jax.algorithms.adaptation.seen import Side
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.losses.adversarial import (
    domain_accuracy,
    domain_cross_entropy,
    domain_loss,
)
from tl_jax.tree import copy, merge, stable_key
from tl_jax.types import Algorithm, Batch, Frozen, Key, Outputs, Player, State

ANCHOR = "anchor"
"""Where `memory` holds the source's encoder: what the model was at its start."""


def adda(
    players: Players,
    loss: Loss,
    *,
    critic: str = "critic",
    main: str = "model",
    weigh: Weigh = weight_of,
    clip: float | None = None,
) -> Algorithm:
    """Adversarial discriminative adaptation (Tzeng et al., 2017): two descents a step.

    The critic: 1/2 (mean_s -log d(f_0) + mean_t -log(1 - d(f)));
    then the encoder: mean_t -log d(f), the labels turned over.

    f_0 are features of `main` as it begins, f of `main` as it moves: begin with a model
    trained on the source, its head frozen, which gets no gradient here but would decay.
    What f_0 needs of the leaves that move is copied once into memory, and its pass is
    without dropout and by running statistics; f's is as in training. The player
    `critic` reads features [B D] and gives logits [B 1] or [B 2]. `supervised` is
    f_0's `loss` on the source, which nobody minimises.

    TLlib descends once, by a reversal that grows to 2, so that the encoder maximises
    the critic's loss where the paper turns its labels over, and freezes batch norms'
    statistics; the encoder's descent there sees the old critic. ADAPT takes both
    descents of one pass, its critic's loss without the half. pytorch-adapt as here,
    but only while the critic is right on more than 0.6. Raises `NoMatch` without the
    critic, ValueError for one that does not fit.
    """
    check_reader(players, critic, logits=(1, 2), main=main)
    model, judge = players[main].model, players[critic].model

    def encoded(params_of: Any, memory: dict, batch: Batch, key: Key):
        return model.apply(
            params_of[main],
            memory["stats"][main],
            batch[TARGET]["inputs"],
            key=stable_key(key, TARGET),
            norm="batch",
        )

    def judged(params_of: Any, memory: dict, rows: Any, key: Key):
        own = stable_key(key, critic)
        outputs, moved = judge.apply(
            params_of[critic],
            memory["stats"][critic],
            {"features": rows},
            key=own,
            norm="batch",
        )
        return outputs.logits, memory | {"stats": memory["stats"] | {critic: moved}}

    def tell(params_of: Any, memory: dict, batch: Batch, key: Key):
        source = batch[SOURCE]
        start = memory[ANCHOR]
        began, _ = model.apply(
            merge(start["params"], params_of[main]), start["stats"], source["inputs"]
        )
        now, _ = encoded(params_of, memory, batch, key)
        rows = lax.stop_gradient(jnp.concatenate([began.features, now.features]))
        logits, memory = judged(params_of, memory, rows, key)
        cut = len(began.features)
        sides = (logits[:cut], logits[cut:], source["weight"], batch[TARGET]["weight"])
        metrics = {
            "supervised": supervised_mean(loss, weigh, {SOURCE: Side(began, source)}),
            "critic/loss": domain_loss(*sides),
            "critic/accuracy": domain_accuracy(*sides),
        }
        return metrics["critic/loss"], (memory, metrics)

    def deceive(params_of: Any, memory: dict, batch: Batch, key: Key):
        now, moved = encoded(params_of, memory, batch, key)
        logits, _ = judged(params_of, memory, now.features, key)
        side = Side(Outputs(now.features), batch[TARGET])
        value = side.mean(domain_cross_entropy(logits, True))
        stats = memory["stats"] | {main: moved}
        return value, (memory | {"stats": stats}, {"loss": value})

    rule = plain if clip is None else clipped(clip, plain)
    stages = sequence(
        descend({critic: players[critic]}, tell, rule),
        descend({main: players[main]}, deceive, rule),
    )
    made = anchored(algorithm(players, stages, predicting(players, main)), main)
    return guarded(made, False, (SOURCE, TARGET))


def anchored(made: Algorithm, main: str) -> Algorithm:
    """The algorithm, whose memory holds what a player is at its start."""

    def init(key: Key, players: Mapping[str, Player]) -> tuple[State, Frozen]:
        state, frozen = made.init(key, players)
        start = {
            "params": copy(state.train[main]),
            "stats": copy(players[main].plan.stats),
        }
        return state._replace(memory=state.memory | {ANCHOR: start}), frozen

    return made._replace(init=init)
