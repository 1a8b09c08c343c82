"""Partial label sets: source classes that the target lacks fade out."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Before, Found, Seen, Term
from tl_jax.algorithms.adaptation.streams import SOURCE
from tl_jax.algorithms.adaptation.views import logits_of, target
from tl_jax.types import Array, Batch, Key, Player


def pada(classes: int, *, every: int = 500, temperature: float = 0.1) -> Term:
    """Weigh source rows by how often the target is said to be of their class.

    g = mean_i softmax(logits_i / T) / max_c,   w_j <- w_j g[y_j]   (Cao et al., 2018)

    for the rows j of the source, so that the supervised loss and every other term weigh
    them: with `dann` this is PADA; with any other term its partial version. g is 1 at
    first and renewed each `every` steps by the mean over the target rows of these
    steps, as they were said in training. TLlib renews it by a pass over the whole
    target each 500 steps, without dropout, and gives the target's rows of the domain
    loss the mean source weight, where means are over weights here. TLlib's T is 0.1,
    the paper's 1. Memory: {"weights" [C], "sum" [C], "mass" [], "steps" []}. Raises
    ValueError for numbers out of range, or logits of another number of classes.
    """
    if classes < 2 or every < 1:
        raise ValueError(
            f"pada: {classes} classes, every {every} steps, expected at least 2 and 1"
        )
    if not temperature > 0:
        raise ValueError(f"pada: temperature is {temperature}, expected above 0")

    def init(key: Key, players: Mapping[str, Player]) -> dict[str, Array]:
        zero = jnp.zeros(())
        own = {"weights": jnp.ones(classes), "sum": jnp.zeros(classes), "mass": zero}
        return own | {"steps": jnp.zeros((), jnp.int32)}

    def prepare(before: Before, batch: Batch) -> Batch:
        source = batch[SOURCE]
        weights, labels = before.own["weights"], jnp.asarray(source["labels"])
        own = labels @ weights if labels.ndim == 2 else weights[labels]
        return {**batch, SOURCE: {**source, "weight": source["weight"] * own}}

    def value(seen: Seen) -> Found:
        side, own = target(seen, "pada"), seen.own
        logits = logits_of(side.outputs, "pada")
        if logits.shape[-1] != classes:
            raise ValueError(f"pada: {classes} classes, but {logits.shape[-1]} logits")
        p = jax.nn.softmax(jnp.asarray(jax.lax.stop_gradient(logits)) / temperature)
        total, mass = own["sum"] + side.weight @ p, own["mass"] + side.weight.sum()
        steps = own["steps"] + 1
        due = (steps >= every) & (mass > 0)
        weights = jnp.where(
            due, total / jnp.maximum(total.max(), 1e-12), own["weights"]
        )
        kept = {"weights": weights, "sum": total * ~due, "mass": mass * ~due}
        metrics = {"least": weights.min(), "mean": weights.mean()}
        own = kept | {"steps": steps * ~due}
        return Found(jnp.float32(0), own, metrics=metrics)

    return Term(value, init, prepare=prepare)


def check_label_sets(
    source: Sequence[str], target: Sequence[str], *, partial: bool = False
) -> None:
    """Raise ValueError unless both domains have the same classes, in one order.

    `partial` lets the source have classes that the target lacks, as `pada` expects.
    Classes of the target alone can't be learnt from the source in any case.
    """
    unknown = [name for name in target if name not in set(source)]
    missing = [name for name in source if name not in set(target)]
    if unknown:
        raise ValueError(
            f"the target has classes that the source lacks: {_some(unknown)}; nothing "
            "here adapts to open label sets: drop their rows"
        )
    if missing and not partial:
        raise ValueError(
            f"the source has classes that the target lacks: {_some(missing)}; choose a "
            "method for partial label sets (pada), or drop their rows"
        )
    if not missing and list(source) != list(target):
        raise ValueError("both domains have the same classes, but in another order")


def _some(names: Sequence[str], count: int = 5) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(repr, names[:count])) + more
