"""Tent: norms that adapt while the model is tested."""

from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.algorithms.adaptation.adapted import guarded
from tl_jax.algorithms.adaptation.streams import TARGET
from tl_jax.algorithms.adaptation.views import logits_of
from tl_jax.algorithms.core import Players, algorithm, descend, sequence
from tl_jax.losses.adversarial import entropy, weighted_mean
from tl_jax.nn import OwnRows, Running
from tl_jax.transfer.tuning.norms import LEAVES
from tl_jax.tree import flatten, merge, one_of, sites
from tl_jax.types import (
    Algorithm,
    Batch,
    Frozen,
    Key,
    Outputs,
    Params,
    Plan,
    State,
    Stats,
    Stream,
)

By = Literal["batch", "moved"]


def tent(
    players: Players, *, statistics: By = "batch", main: str = "model"
) -> Algorithm:
    """Minimise the entropy of predictions by scales and biases of norms alone.

    1/n sum_i H(p(x_i)) over each batch of the target (Wang et al., 2021). Steps see
    `{"target": stream}`: online, a `step` on a batch, then `predict` on it. Give a plan
    in which only norms move: `chain(freeze(".*"), batch_norms())`, or `layer_norms()`.

    `statistics="batch"`: batch norms go by the batch, in steps and in `predict`, as in
    the authors' code, rows of weight 0 left out: what is predicted for a row depends on
    its batch, and one row alone says nothing. "moved": in `predict` by the running
    statistics, which steps move. Their code predicts with the weights before the step;
    for that call `predict` first. A foreign module counts all rows.

    Raises ValueError for a plan in which anything else moves, or nothing;
    `LeakedLabels` for labels of the target.
    """
    one_of("tent: statistics", statistics, get_args(By))
    check_norms_alone(players[main].plan)
    model = players[main].model

    def applied(params: Params, stats: Stats, stream: Stream) -> tuple[Outputs, Stats]:
        own = stats if statistics == "moved" else by_rows(stats, stream)
        return model.apply(params, own, stream["inputs"], norm="batch")

    def objective(params_of: Any, memory: dict, batch: Batch, key: Key):
        stream, stats = batch[TARGET], memory["stats"]
        outputs, moved = applied(params_of[main], stats[main], stream)
        value = weighted_mean(entropy(logits_of(outputs, "tent")), stream["weight"])
        if statistics == "moved":
            memory = memory | {"stats": stats | {main: moved}}
        return value, (memory, {"loss": value, "tent/entropy": value})

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        params = merge(state.train[main], frozen[main])
        stats, query = state.memory["stats"][main], batch["query"]
        if statistics == "moved":
            return model.apply(params, stats, query["inputs"])[0]
        return applied(params, stats, query)[0]

    only = {main: players[main]}
    made = algorithm(players, sequence(descend(only, objective)), predict)
    return guarded(made, False, (TARGET,))


def by_rows(stats: Stats, stream: Stream) -> Stats:
    """Running statistics that give way to the batch's, by the weights of its rows."""
    weight = stream.get("weight")
    if weight is None:
        weight = jnp.ones(len(next(iter(stream["inputs"].values()))))

    def own(node: Any) -> Any:
        running = isinstance(node, Running)
        return OwnRows(node.mean, node.var, weight) if running else node

    return {at: own(node) for at, node in stats.items()}


def check_norms_alone(plan: Plan) -> None:
    """Raise ValueError unless scales and biases of norms move and nothing else does."""
    norms = {
        f"{path}/{leaf}"
        for path, site in sites(plan.params).items()
        if site.keys() - {"patch"} in LEAVES
        for leaf in site.keys() - {"patch"}
    }
    moving = [path for path, rate in flatten(plan.rates).items() if rate]
    others = [path for path in moving if path not in norms]
    if others or not moving:
        found = f"{others[0]!r} moves too" if others else "nothing moves"
        raise ValueError(
            f"tent: {found}, expected a plan in which scales and biases of norms move "
            "alone, such as chain(freeze('.*'), batch_norms())"
        )
