"""FlexMatch: FixMatch whose threshold follows how well each class is learnt."""

from collections.abc import Mapping as Players

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.fixmatch import weakly
from tl_jax.algorithms.adaptation.pseudo_labels import told
from tl_jax.algorithms.adaptation.seen import Found, Seen, Term
from tl_jax.algorithms.adaptation.views import playing, positive, share, target, view
from tl_jax.losses.consistency import (
    Mapping,
    believed,
    class_thresholds,
    mapped,
    pseudo_label_loss,
    relabelled,
)
from tl_jax.types import Array, Augment, Key, Player


def flexmatch(
    strong: Augment,
    examples: int,
    *,
    weak: Augment | None = None,
    strength: float = 1.0,
    threshold: float = 0.95,
    mapping: Mapping = "convex",
    warm_up: bool = True,
    count: int | None = None,
    player: str = "model",
) -> Term:
    """`fixmatch` with a threshold for each class (Zhang et al., 2021).

    strength 1/B sum_i 1(max q_i >= T(argmax q_i)) H(argmax q_i, p(strong(x_i)))

    T is `losses.consistency.class_thresholds` of the labels last believed at the full
    `threshold`, one for each target example. They are memory, int32 [examples], -1 at
    first, saved and resumed; the stream's `index` says whose they are, 0 to
    examples - 1. Thresholds are those before the step, as in TLlib and the paper. Of
    `count` examples (all by default) those not believed yet keep thresholds low under
    `warm_up`, the paper's default; TLlib's is without. An index beyond `examples`
    gives NaN, so that it shows in the first logged loss. Raises as `fixmatch`,
    and for fewer than 1 example.
    """
    positive("flexmatch", strength=strength)
    share("flexmatch", threshold=threshold)
    mapped(jnp.float32(0), mapping)
    if examples < 1:
        raise ValueError(f"flexmatch: examples is {examples}, expected at least 1")

    def init(key: Key, players: Players[str, Player]) -> dict[str, Array]:
        return {"labels": jnp.full(examples, -1, jnp.int32)}

    def value(seen: Seen) -> Found:
        side, labels = target(seen, "flexmatch"), seen.own["labels"]
        reference = weakly(seen, weak, "flexmatch", player)
        classes, index = reference.shape[-1], side.stream["index"]
        how = dict(mapping=mapping, warm_up=warm_up, count=count)
        least = class_thresholds(labels, classes, threshold, **how)
        logits = view(seen, strong, "strong", player).logits
        loss = side.mean(pseudo_label_loss(logits, reference, least))
        beyond = ((side.weight > 0) & (index >= examples)).any()
        sure = believed(reference, threshold)
        own = {"labels": relabelled(labels, index, sure, side.weight)}
        metrics = told(side, reference, least) | {"threshold": least.mean()}
        return Found(strength * jnp.where(beyond, jnp.nan, loss), own, metrics=metrics)

    return Term(value, init, check=playing(player))
