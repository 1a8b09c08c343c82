"""CyCADA's pixel level: translate, and learn the task from translations meanwhile."""

from typing import Any

from tl_jax.algorithms.adaptation.adapted import guarded, predicting, supervised_mean
from tl_jax.algorithms.adaptation.cyclegan import SHOWN, forgetting, translation
from tl_jax.algorithms.adaptation.seen import Side
from tl_jax.algorithms.adaptation.semantic import semantic
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.tree import no_match
from tl_jax.types import Algorithm, Batch, Key, Objective


def cycada(
    players: Players,
    loss: Loss,
    *,
    shape: tuple[int, int, int],
    weigh: Weigh = weight_of,
    clip: float | None = None,
    cycle: float = 10.0,
    identity: float = 5.0,
    consistency: float = 1.0,
    untranslated: float = 1.0,
    pool: int = 50,
    main: str = "model",
) -> Algorithm:
    """`cyclegan` with `semantic` consistency, then the task's own descent.

    main:  mean loss(f(G(s)), y) + untranslated mean loss(f(s), y)

    (Hoffman et al., 2018). G(s) is of before the generators' step and has no gradient
    here; f, the player `main`, is the consistency's classifier as well, of strength
    `consistency`. The paper trains f on the source first and keeps that one for the
    consistency, and ends with an adversary of features; both are left out here, so
    that f learns from its first step on. TLlib translates first, stores the pictures
    and trains then. `predict` gives the outputs of `main`.

    Raises as `cyclegan` does, and ValueError for a strength below 0.
    """
    if main not in players:
        raise no_match("player", main, players)
    if consistency < 0 or untranslated < 0:
        raise ValueError(
            f"consistency={consistency}, untranslated={untranslated}, expected 0 or "
            "more"
        )
    keeping = {"semantic": semantic(consistency, player=main)} if consistency else {}
    sizes = dict(shape=shape, cycle=cycle, identity=identity, pool=pool)
    stages = translation(players, **sizes, consistencies=keeping, clip=clip)
    rule = plain if clip is None else clipped(clip, plain)
    task = _learning(players, loss, weigh, untranslated, main)
    learning = descend({main: players[main]}, task, rule)
    whole = sequence(*stages, learning, forgetting(SHOWN))
    made = algorithm(players, whole, predicting(players, main))
    return guarded(made, False, needs=(SOURCE, TARGET))


def _learning(
    players: Players, loss: Loss, weigh: Weigh, untranslated: float, main: str
) -> Objective:
    """The task's loss over the source, translated and, weighed, as it is."""
    model = players[main].model

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        stats, source = memory["stats"][main], batch[SOURCE]
        made = {**source["inputs"], "image": memory[SHOWN][0]}
        shares = ((1.0, made, "translated"), (untranslated, source["inputs"], "source"))
        total, metrics = 0.0, {}
        for share, inputs, name in shares:
            if not share:
                continue
            outputs, stats = model.apply(
                params_of[main], stats, inputs, key=key, norm="batch"
            )
            sides = {SOURCE: Side(outputs, source)}
            metrics[f"loss/{name}"] = value = supervised_mean(loss, weigh, sides)
            total += share * value
        memory = memory | {"stats": memory["stats"] | {main: stats}}
        return total, (memory, metrics | {"loss": total})

    return objective
