"""Meta-training: descend on what a learner's predictions cost on its query sets."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tl_jax.algorithms.core import (
    Players,
    algorithm,
    counting,
    descend,
    sequence,
)
from tl_jax.algorithms.meta.learner import Learner, Loss, Seen, mean_loss
from tl_jax.algorithms.meta.tasks import Tasks, chosen, over_tasks
from tl_jax.algorithms.rules import accumulated, clipped, plain
from tl_jax.tree import merge
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    Frozen,
    GradientRule,
    Key,
    Metrics,
    Objective,
    Outputs,
    State,
    Stream,
)

STEPS = "meta_steps"


def episodic(
    players: Players,
    learner: Learner,
    loss: Loss,
    *,
    tasks: Tasks = "vmap",
    parts: int = 1,
    accumulate: int = 1,
    clip: float | None = None,
) -> Algorithm:
    """Minimise the mean over tasks of a learner's loss on their query sets.

    min over theta of mean_k L_query_k(fit(theta, support_k)) (Vinyals et al., 2016;
    Finn et al., 2017). A batch is `{"support": stream, "query": stream}` whose leaves
    begin with the tasks, [K B ...]; an example's weight of 0 is padding, and a task
    whose queries all weigh 0 does not count.

    `tasks` and `parts` say how tasks are computed (`over_tasks`); `accumulate` cuts
    them into microbatches, which "map" does by itself; `clip` bounds the
    meta-gradient's norm. `predict` learns from `support` and returns outputs [K B ...]
    of `query`.
    """

    tasks = chosen(tasks)

    def weigh(batch: Batch) -> Array:
        return _counts(batch["query"]).sum()

    rule = plain if accumulate == 1 else accumulated(accumulate, weigh)
    if tasks == "map":
        rule = in_turn(parts, weigh)
    rule = rule if clip is None else clipped(clip, rule)
    objective = query_loss(learner, loss)
    stages = sequence(descend(players, objective, rule), counting(STEPS))
    return algorithm(players, stages, predicting(learner, tasks, parts))


def in_turn(parts: int, weigh: Callable[[Batch], Array]) -> GradientRule:
    """The gradient of one task after another: no task's inside outlives it.

    `parts` devices share the tasks, and meet once, when each has done its own.
    """

    def rule(f: Callable, train: Any, batch: Batch, key: Key):
        count = len(jax.tree.leaves(batch)[0])
        if count % parts:
            raise ValueError(f"{count} tasks do not divide into {parts} parts")
        own = plain if count == parts else accumulated(count // parts, weigh)
        if parts == 1:
            return own(f, train, batch, key)

        def cut(x: Array) -> Array:
            return x.reshape(parts, count // parts, *x.shape[1:])

        batch = jax.tree.map(cut, batch)
        weights = jax.vmap(weigh)(batch)
        shares = weights / jnp.maximum(weights.sum(), 1e-12)
        found = jax.vmap(partial(own, f, train))(batch, jax.random.split(key, parts))
        return jax.tree.map(partial(_mean, shares), found)

    return rule


def _mean(shares: Array, x: Array) -> Array:
    """The weighted mean over the first axis; counters and the like are all one."""
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return jnp.tensordot(shares.astype(x.dtype), x, 1) if floating else x[0]


def query_loss(learner: Learner, loss: Loss) -> Objective:
    """The mean over tasks of what a learner's predictions on queries cost."""

    def objective(params_of: Mapping, memory: dict, batch: Batch, key: Key):
        stats = memory["stats"]

        def one(support: Stream, query: Stream, key: Key) -> tuple[Array, dict, Any]:
            seen = Seen(stats, key, True, memory[STEPS])
            value, now, metrics = _value(
                learner, learner.fit(params_of, support, seen), query, loss, seen
            )
            moved = {n: now[n] for n in stats if now[n] is not stats[n]}
            return value, moved, metrics

        count = _counts(batch["query"])
        keys = jax.random.split(key, len(count))
        args = batch["support"], batch["query"], keys
        values, moved, metrics = over_tasks(one, args)
        share = count / jnp.maximum(count.sum(), 1)

        moved, metrics, value = jax.tree.map(
            partial(_mean, share), (moved, metrics, values)
        )
        memory = memory | {"stats": {**stats, **moved}}
        return value, (memory, {"loss": value} | metrics)

    return objective


def predicting(learner: Learner, tasks: Tasks, parts: int) -> Any:
    """(state, frozen, batch) -> outputs [K B ...] of the queries."""

    def predict(state: State, frozen: Frozen, batch: Batch) -> Outputs:
        memory = state.memory
        params_of = {
            name: merge(moving, frozen[name]) for name, moving in state.train.items()
        }
        seen = Seen(memory["stats"], None, False, memory.get(STEPS, state.step))

        def one(support: Stream, inputs: Mapping[str, Any]) -> Outputs:
            fitted = learner.fit(params_of, support, seen)
            outputs, _ = learner.predict(fitted, inputs, seen)
            return Outputs(outputs.features, outputs.logits)

        args = batch["support"], batch["query"]["inputs"]
        return over_tasks(one, args, tasks, parts)

    return predict


def _value(
    learner: Learner, fitted: Any, query: Stream, loss: Loss, seen: Seen
) -> tuple[Array, Mapping, Metrics]:
    if learner.value is not None:
        return learner.value(fitted, query, loss, seen)
    outputs, stats = learner.predict(fitted, query["inputs"], seen)
    return mean_loss(outputs, query, loss), stats, {}


def _counts(query: Stream) -> Array:
    """[K] 1 for a task with queries, 0 for padding."""
    return (query["weight"].sum(-1) > 0).astype(query["weight"].dtype)
