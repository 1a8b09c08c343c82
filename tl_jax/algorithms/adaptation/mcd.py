"""Two classifiers seek target rows on which they differ; features hide them."""

from typing import Any

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.adapted import (
    guarded,
    predicting,
    runner,
    supervised_mean,
)
from tl_jax.algorithms.adaptation.critics import check_reader
from tl_jax.algorithms.adaptation.forward import Sides, forward
from tl_jax.algorithms.adaptation.seen import Side
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.algorithms.repeated import repeated
from tl_jax.algorithms.rules import clipped, plain
from tl_jax.algorithms.supervised import Loss, Weigh, weight_of
from tl_jax.losses.adversarial import balance, classifier_discrepancy
from tl_jax.tree import stable_key
from tl_jax.types import Algorithm, Array, Batch, Key, Metrics, Stage, Stats


def mcd(
    players: Players,
    loss: Loss,
    *,
    strength: float = 1.0,
    generator_steps: int = 4,
    balancing: float = 0.01,
    second: str = "second",
    main: str = "model",
    head: str = r"head/.*",
    weigh: Weigh = weight_of,
    labelled: bool = False,
    joint: bool = True,
    clip: float | None = None,
) -> Algorithm:
    """Maximum classifier discrepancy (Saito et al., 2018): three phases a step.

    A: body and both heads minimise the source's losses of both, L;
    B: the heads alone minimise L - strength * mean_t d(p1, p2);
    C: the body alone minimises strength * mean_t d(p1, p2), `generator_steps` times.

    d is `classifier_discrepancy`. The first head is the leaves of `main` that the rule
    `head` matches, the second the player `second`, which reads the features [B D]; give
    it another start. A and B add `balancing` times `balance` of both heads' target
    shares. Each part has an optimiser's state of its own, so that what stands still
    keeps its momentum. A step is one call: what is saved lies between the phases C
    and A. `predict` is by the first head.

    TLlib: the same phases, momenta apart, both domains in one batch, `balancing` 0.01
    and 4 steps (`mcd.py`), with two heads beside the body. The paper has no balancing.
    pytorch-adapt: no balancing, 4 steps. ADAPT takes one descent of all after its steps
    of the encoder. Raises `NoMatch` without the second head, ValueError for one that
    does not fit; at `init` `NoMatch` where no moving leaf is `head`.
    """
    check_reader(players, second, main=main)
    body = rf"(?!(?:{head})$).*"

    def passed(params_of: Any, memory: dict, batch: Batch, key: Key):
        stats = memory["stats"]
        sides, moved = forward(
            players[main].model, params_of[main], stats[main], batch, key, joint
        )
        run = runner(players, params_of, memory)
        twins, other = second_sides(run, second, sides, stable_key(key, "second"))
        return sides, twins, memory | {"stats": {**stats, main: moved, second: other}}

    def gap(sides: Sides, twins: Sides) -> Array:
        side, twin = sides[TARGET], twins[TARGET]
        return side.mean(
            classifier_discrepancy(side.outputs.logits, twin.outputs.logits)
        )

    def learned(sides: Sides, twins: Sides) -> tuple[Array, Metrics]:
        one, two = (supervised_mean(loss, weigh, both) for both in (sides, twins))
        total = one + two
        for side in (sides[TARGET], twins[TARGET]):
            total += balancing * balance(side.outputs.logits, side.weight)
        return total, {"supervised": one, "second": two}

    def teach(params_of: Any, memory: dict, batch: Batch, key: Key):
        sides, twins, memory = passed(params_of, memory, batch, key)
        total, metrics = learned(sides, twins)
        return total, (memory, metrics)

    def differ(params_of: Any, memory: dict, batch: Batch, key: Key):
        sides, twins, memory = passed(params_of, memory, batch, key)
        far = gap(sides, twins)
        total = learned(sides, twins)[0] - strength * far
        return total, (memory, {"loss": total, "differ": far})

    def agree(params_of: Any, memory: dict, batch: Batch, key: Key):
        sides, twins, memory = passed(params_of, memory, batch, key)
        far = gap(sides, twins)
        return strength * far, (memory, {"agree": far})

    rule = plain if clip is None else clipped(clip, plain)
    first = {main: players[main]}
    stages: tuple[Stage, ...] = (
        descend(players, teach, rule),
        descend(players, differ, rule, {main: head}),
        repeated(descend(first, agree, rule, {main: body}), generator_steps),
    )
    predict = predicting(players, main)
    made = algorithm(players, sequence(*stages), predict, {main: head})
    return guarded(made, labelled, (SOURCE, TARGET))


def second_sides(run: Any, name: str, sides: Sides, key: Key) -> tuple[Sides, Stats]:
    """The sides as a second head sees their features, all rows in one batch."""
    rows = jnp.concatenate([side.outputs.features for side in sides.values()])
    outputs, moved = run(name, {"features": rows}, key=key)
    found, start = {}, 0
    for place, side in sides.items():
        span = slice(start, start + len(side.outputs.features))
        own = side.outputs._replace(logits=outputs.logits[span])
        found[place], start = Side(own, side.stream), span.stop
    return found, moved
