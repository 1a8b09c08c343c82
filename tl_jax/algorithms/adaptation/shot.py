"""SHOT: a source's hypothesis transferred without its data."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import logits_of, positive, target
from tl_jax.losses.adversarial import weighted_mean
from tl_jax.losses.centroids import centroid_labels
from tl_jax.losses.confusion import information_loss
from tl_jax.losses.supervised import cross_entropy
from tl_jax.tree import flatten, get, matches, sites
from tl_jax.types import Array, Key, Player, Stream


def shot(
    examples: int,
    period: int,
    strength: float = 0.3,
    information: float = 1.0,
    *,
    head: str = "head",
    main: str = "model",
) -> Term:
    """Sure, varied predictions and pseudo-labels under a frozen head (Liang, 2020).

    information (mean_i H(p_i) - H(mean_i p_i)) + strength 1/n sum_i -log p_i,y(i)

    over the target alone: give batches `{"target": stream}` to `adapted` and freeze the
    head, the source's hypothesis, in the plan. y are the `centroid_labels` of all rows
    seen so far, found anew every `period` steps: an epoch, or a part of one. What rows
    showed when last seen, [examples D] features and [examples C] shares, stands in
    memory by the stream's `index`, and is saved with it. A row without a label yet
    counts 0 in the second part, which is divided by the whole batch.

    The authors pass all data once more, without dropout and by kept statistics, before
    each epoch; here labels are of passes of training, at most an epoch old, and the
    first `period` steps have none. Their entropies add 1e-5 inside the logarithm.

    Raises ValueError for a head that moves, `NoMatch` for one that is not there.
    """
    positive("shot", strength=strength, information=information)
    for name, value in (("examples", examples), ("period", period)):
        if value != int(value) or value < 1:
            raise ValueError(f"shot: {name} is {value}, expected at least 1")

    def init(key: Key, players: Mapping[str, Player]) -> dict[str, Array]:
        kernel = get(players[main].plan.params, head)["kernel"]
        return {
            "features": jnp.zeros((examples, players[main].model.width)),
            "shares": jnp.zeros((examples, kernel.shape[-1])),
            "seen": jnp.zeros(examples),
            "labels": jnp.full(examples, -1, jnp.int32),
            "steps": jnp.zeros((), jnp.int32),
        }

    def value(seen: Seen) -> Found:
        side, own = target(seen, "shot"), seen.own
        logits, stream = logits_of(side.outputs, "shot"), side.stream
        labels = refreshed(own, period)
        mine = labels.at[_places(stream, examples)].get(mode="fill", fill_value=-1)
        known = mine >= 0
        each = cross_entropy(logits, jnp.where(known, mine, 0))
        pseudo = weighted_mean(jnp.where(known, each, 0), side.weight)
        spread = information_loss(logits, side.weight)
        own = written(own | {"labels": labels}, stream, side.outputs)
        told = {"labelled": weighted_mean(known.astype(jnp.float32), side.weight)}
        told |= {"information": spread, "pseudo": pseudo}
        return Found(information * spread + strength * pseudo, own, metrics=told)

    def check(players: Mapping[str, Player]) -> None:
        plan = players[main].plan
        matches(head, sites(plan.params), "shot: head")
        moving = [n for n, rate in flatten(get(plan.rates, head)).items() if rate]
        if moving:
            raise ValueError(
                f"shot: '{head}/{moving[0]}' moves, but the source's hypothesis stays: "
                f"freeze('{head}/.*')"
            )

    return Term(value, init, check=check)


def refreshed(own: Mapping[str, Array], period: int) -> Array:
    """[N] labels, found anew when a period is over."""
    due = (own["steps"] > 0) & (own["steps"] % period == 0)
    return jax.lax.cond(
        due,
        lambda: centroid_labels(own["features"], own["shares"], own["seen"]),
        lambda: own["labels"],
    )


def written(own: Mapping[str, Array], stream: Stream, outputs: Any) -> dict[str, Array]:
    """What is remembered, with this batch's rows at their places."""
    outputs = jax.lax.stop_gradient(outputs)
    places = _places(stream, len(own["seen"]))
    rows = {
        "features": outputs.features.astype(jnp.float32),
        "shares": jax.nn.softmax(outputs.logits.astype(jnp.float32)),
        "seen": jnp.ones(len(places)),
    }
    new = {n: own[n].at[places].set(rows[n], mode="drop") for n in rows}
    return {**own, **new, "steps": own["steps"] + 1}


def _places(stream: Stream, examples: int) -> Array:
    """[B] each row's place; beyond the end, where nothing is kept, for padding."""
    index = jnp.asarray(stream["index"], jnp.int32)
    inside = (stream["weight"] > 0) & (index >= 0) & (index < examples)
    return jnp.where(inside, index, examples)
