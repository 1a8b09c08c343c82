"""A critic estimates the Wasserstein distance of the domains, which features shrink."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from tl_jax.algorithms.adaptation.adapted import (
    guarded,
    predicting,
    runner,
    supervised_mean,
)
from tl_jax.algorithms.adaptation.critics import check_reader
from tl_jax.algorithms.adaptation.forward import forward
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.repeated import repeated
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.losses.adversarial import between, gradient_penalty, wasserstein
from tl_jax.tree import merge, stable_key
from tl_jax.types import Algorithm, Array, Batch, Frozen, Key, Model, Stage, State


def wdgrl(
    players: Players,
    loss: Loss,
    *,
    strength: float = 1.0,
    penalty: float = 10.0,
    critic_steps: int = 5,
    critic: str = "critic",
    main: str = "model",
    weigh: Weigh = weight_of,
    labelled: bool = False,
    joint: bool = True,
    clip: float | None = None,
) -> Algorithm:
    """Wasserstein distance guided representations (Shen et al., 2018).

    `critic_steps` times the critic: -W + penalty * mean (|df/dx| - 1)^2;
    then all others: source's loss + strength * W, W = mean_s f - mean_t f

    The slopes are taken at features of both domains and at points between them, drawn
    anew each time; the features are computed once a step, without a gradient. `critic`
    reads features [B D] and gives one number [B 1]; without batch norms, which would
    tie rows together.

    The authors' code: the same three kinds of points. ADAPT takes the points between
    alone and both descents of one pass, with the critic's sign turned in both; of flat
    features its penalty is of each number's slope, since its sum runs over no axis.
    Raises `NoMatch` without the critic, ValueError for one that does not fit.
    """
    check_reader(players, critic, logits=(1,), main=main)
    judge = players[critic].model

    def distance(params_of: Any, memory: dict, batch: Batch, key: Key):
        ours, theirs = (batch[n]["inputs"]["features"] for n in (SOURCE, TARGET))
        weights = [batch[n]["weight"] for n in (SOURCE, TARGET)]

        def f(rows):
            stats = memory["stats"][critic]
            return judge.apply(params_of[critic], stats, {"features": rows})[0].logits

        far = wasserstein(f(ours), f(theirs), *weights)
        points = between(key, ours, theirs)
        shared = between_weights(*weights)
        slope = gradient_penalty(
            f,
            jnp.concatenate([ours, theirs, points]),
            jnp.concatenate([*weights, shared]),
        )
        metrics = {"critic/distance": far, "critic/penalty": slope}
        return penalty * slope - far, (memory, metrics)

    def shrink(params_of: Any, memory: dict, batch: Batch, key: Key):
        stats = memory["stats"]
        sides, moved = forward(
            players[main].model, params_of[main], stats[main], batch, key, joint
        )
        run = runner(players, params_of, memory)
        source, target = (sides[name] for name in (SOURCE, TARGET))
        scores = (
            run(critic, {"features": side.outputs.features}, norm="running")[0].logits
            for side in (source, target)
        )
        far = wasserstein(*scores, source.weight, target.weight)
        own = supervised_mean(loss, weigh, sides)
        metrics = {"loss": own + strength * far, "supervised": own, "distance": far}
        memory = memory | {"stats": stats | {main: moved}}
        return metrics["loss"], (memory, metrics)

    rule = plain if clip is None else clipped(clip, plain)
    alone = {critic: players[critic]}
    others = {name: player for name, player in players.items() if name != critic}
    stages = sequence(
        on_features(
            players[main].model,
            main,
            repeated(descend(alone, distance, rule), critic_steps),
            joint,
        ),
        descend(others, shrink, rule),
    )
    made = algorithm(players, stages, predicting(players, main))
    return guarded(made, labelled, (SOURCE, TARGET))


def between_weights(source: Array, target: Array) -> Array:
    """[max(B, M)] weights of `between`'s points: 0 where either end has none."""
    place = jnp.arange(max(len(source), len(target)))
    own, other = source[place % len(source)], target[place % len(target)]
    return jnp.sqrt(own * other)


def on_features(model: Model, main: str, stage: Stage, joint: bool) -> Stage:
    """The stage on streams whose inputs are the features of `main`, computed once."""

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        params = merge(state.train[main], frozen[main])
        stats = state.memory["stats"][main]
        own = {name: batch[name] for name in (SOURCE, TARGET)}
        sides, _ = forward(model, params, stats, own, stable_key(key, main), joint)
        rows = {
            name: {
                **side.stream,
                "inputs": {"features": lax.stop_gradient(side.outputs.features)},
            }
            for name, side in sides.items()
        }
        return stage.step(state, frozen, rows, key)

    return Stage(stage.init, step)
