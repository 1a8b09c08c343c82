"""What every few-shot method is: a way to learn a task from its support set."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp

from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Metrics, Model, Outputs, Params, Stats, Stream

Loss = Callable[[Outputs, Stream], Array]
"""(outputs, stream) -> [B], an example's."""
Norm = Literal["transductive", "support", "running"]
"""Whose statistics batch norm uses for a task; nothing else may decide it:

"transductive": the support set by its own, the query set by its own. A prediction then
depends on the other queries, as in MAML's and Reptile's published figures.
"support": both by the support set's, differentiated through.
"running": kept ones. They move in meta-training, where each set is normalised by its
own, as in common training; predictions use what was kept.
"""


class Seen(NamedTuple):
    """What a task may see beside its own examples."""

    stats: Mapping[str, Stats]
    """Player -> batch-norm statistics that are kept."""
    key: Key | None
    """None: no dropout."""
    training: bool
    """Static: whether meta-training or a prediction is computed."""
    step: Array | int = 0
    """Meta-steps done so far."""


class Learner(NamedTuple):
    """Learns one task, differentiably: a function of a support set, then of queries.

    Nothing here has a task axis; who calls maps over tasks.
    """

    fit: Callable[[Mapping[str, Params], Stream, Seen], Any]
    """(params_of, support, seen) -> whatever `predict` needs."""
    predict: Callable[[Any, Mapping[str, Any], Seen], tuple[Outputs, Mapping]]
    """(fitted, query inputs, seen) -> (outputs, statistics by player).

    Statistics that did not move must be the very objects of `seen`."""
    value: Callable[[Any, Stream, Loss, Seen], tuple[Array, Mapping, Metrics]] | None
    """(fitted, query, loss, seen) -> (value [], statistics, metrics); None: the mean
    loss of `predict`."""


class Embedded(NamedTuple):
    """What a query needs of the model, once a task is learned."""

    params: Params
    stats: Stats


def mean_loss(outputs: Outputs, stream: Stream, loss: Loss) -> Array:
    """sum_i w_i loss_i / sum_i w_i over a set [B]."""
    weight = stream["weight"]
    return (weight * loss(outputs, stream)).sum() / jnp.maximum(weight.sum(), 1e-12)


def on_support(
    model: Model,
    params: Params,
    stats: Stats,
    inputs: Mapping[str, Any],
    norm: Norm,
    seen: Seen,
) -> tuple[Outputs, Stats]:
    """The model on a support set: (outputs, statistics for what follows)."""
    check_norm(norm)
    how = {"transductive": "batch", "support": "own"}.get(norm)
    how = how or ("batch" if seen.training else "running")
    outputs, moved = model.apply(params, stats, inputs, key=seen.key, norm=how)
    return outputs, stats if norm == "transductive" else moved


def on_query(
    model: Model,
    params: Params,
    stats: Stats,
    inputs: Mapping[str, Any],
    norm: Norm,
    seen: Seen,
) -> tuple[Outputs, Stats]:
    """The model on queries, after `on_support`: (outputs, statistics to keep)."""
    check_norm(norm)
    how = {"transductive": "batch", "support": "running"}.get(norm)
    how = how or ("batch" if seen.training else "running")
    return model.apply(params, stats, inputs, key=seen.key, norm=how)


def kept(name: str, moved: Stats, norm: Norm, seen: Seen) -> Mapping[str, Stats]:
    """Statistics by player after a task: moved ones only if they are running ones."""
    if norm != "running" or not seen.training or not moved:
        return seen.stats
    return {**seen.stats, name: moved}


def check_norm(norm: str) -> None:
    """Raise `NoMatch` for an unknown choice of statistics."""
    one_of("norm", norm, get_args(Norm))
