"""T3A: a classifier's templates adjusted at test time, without a gradient."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.adapted import guarded, predicting
from tl_jax.algorithms.adaptation.streams import TARGET
from tl_jax.algorithms.adaptation.views import logits_of
from tl_jax.algorithms.core import Players, algorithm, sequence
from tl_jax.losses.adversarial import entropy, weighted_mean
from tl_jax.nn import dense
from tl_jax.tree import get, matches, sites
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    Key,
    Outputs,
    Params,
    Player,
    State,
)

SUPPORTS = "t3a"
"""Where `memory` holds each class's supports."""


def t3a(
    players: Players, *, capacity: int = 20, head: str = "head", main: str = "model"
) -> Algorithm:
    """Classify by class means of the surest features seen (Iwasawa and Matsuo, 2021).

    logit_k(x) = f(x) . v_k / |v_k|,  v_k = sum of z / |z| over the supports of class k

    The supports begin with the head's own weights; a `step` on `{"target": stream}`
    gives each row to the class that the head says and keeps the `capacity` rows of
    least entropy a class, the paper's filter M. No weight moves. memory["t3a"] holds
    them, [C M D], so that a run goes on where it stopped. Online: `step`, then
    `predict` of the same rows.

    As the authors' code, which also knows M without a bound. Raises `NoMatch` without a
    head, ValueError for one that does not read the features linearly or a capacity
    below 1, `LeakedLabels` for labels of the target.
    """
    if capacity != int(capacity) or capacity < 1:
        raise ValueError(f"t3a: capacity is {capacity}, expected at least 1")
    model = players[main].model
    check_linear(players[main], head)

    def init(key: Key, players: Mapping[str, Player]) -> tuple[State, Frozen]:
        state, frozen = made.init(key, players)
        site = get(players[main].plan.params, head)
        classes = site["kernel"].shape[-1]
        empty = {
            "supports": jnp.zeros((classes, capacity, model.width)),
            "entropy": jnp.full((classes, capacity), jnp.inf),
        }
        rows = site["kernel"].T.astype(jnp.float32)
        own = kept(empty, rows, dense(site, rows), jnp.ones(classes))
        return state._replace(memory=state.memory | {SUPPORTS: own}), frozen

    def step(state: State, frozen: Frozen, batch: Batch, key: Key):
        stream = batch[TARGET]
        outputs = made.predict(state, frozen, {"query": stream})
        logits = logits_of(outputs, "t3a")
        own = kept(state.memory[SUPPORTS], outputs.features, logits, stream["weight"])
        state = state._replace(
            step=state.step + 1, memory=state.memory | {SUPPORTS: own}
        )
        unsure = weighted_mean(entropy(logits), stream["weight"])
        count = jnp.isfinite(own["entropy"]).sum()
        return state, {"loss": unsure, "t3a/supports": count}

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        outputs = made.predict(state, frozen, batch)
        logits = outputs.features @ templates(state.memory[SUPPORTS]["supports"]).T
        return outputs._replace(logits=logits)

    made = algorithm(players, sequence(), predicting(players, main))
    return guarded(Algorithm(init, step, predict), False, (TARGET,))


def kept(
    own: Mapping[str, Array], features: Array, logits: Array, weight: Array
) -> dict[str, Array]:
    """The surest of the supports and new rows, class by class.

    supports [C M D], entropy [C M], infinite where there is none; features [B D],
    logits [B C], weight [B], 0 for padding.
    """
    classes = jnp.arange(logits.shape[-1])
    mine = (logits.argmax(-1) == classes[:, None]) & (weight > 0)
    unsure = jnp.where(mine, entropy(logits), jnp.inf)
    features = jnp.where(weight[:, None] > 0, features.astype(jnp.float32), 0)

    def of_class(supports: Array, before: Array, new: Array) -> tuple[Array, Array]:
        every = jnp.concatenate([before, new])
        first = jnp.argsort(every)[: len(before)]
        chosen = jnp.concatenate([supports, features])[first]
        there = jnp.isfinite(every[first])
        return jnp.where(there[:, None], chosen, 0), every[first]

    supports, left = jax.vmap(of_class)(own["supports"], own["entropy"], unsure)
    return {"supports": supports, "entropy": left}


def templates(supports: Array) -> Array:
    """Directions of classes, 0 for one without supports. [C M D] -> [C D]."""
    return _unit(_unit(supports).sum(1))


def check_linear(player: Player, head: str) -> None:
    """Raise unless the site `head` is one product with the model's features."""
    known = sites(player.plan.params)
    matches(head, known, "t3a: head")
    site: Params = known[head]
    kernel = site.get("kernel")
    width = player.model.width
    if kernel is None or kernel.ndim != 2 or len(kernel) != width or "hidden" in site:
        shape = "none" if kernel is None else list(kernel.shape)
        raise ValueError(
            f"t3a: {head!r} has the kernel {shape}, expected one product with the "
            f"{width} features and no hidden layer"
        )


def _unit(x: Array) -> Array:
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x / jnp.maximum(length, 1e-12)
