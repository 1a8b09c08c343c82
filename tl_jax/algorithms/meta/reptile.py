"""Learn an initialisation by moving it to where tasks end: first order alone."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from tl_jax.algorithms.core import Players, algorithm, counting, descend, sequence
from tl_jax.algorithms.meta.episodic import STEPS, predicting
from tl_jax.algorithms.meta.implicit import Implicit
from tl_jax.algorithms.meta.inner import Inner, check_inner
from tl_jax.algorithms.meta.learner import (
    Loss,
    Norm,
    Seen,
    check_norm,
    kept,
    mean_loss,
    on_support,
)
from tl_jax.algorithms.meta.maml import maml
from tl_jax.algorithms.meta.tasks import Tasks, over_tasks
from tl_jax.algorithms.rules import clipped
from tl_jax.optim import by_rate
from tl_jax.transfer.plan import trainable
from tl_jax.tree import flatten, partition
from tl_jax.types import (
    Algorithm,
    Array,
    Batch,
    GradientRule,
    Key,
    Stream,
)


def reptile(
    players: Players,
    loss: Loss,
    inner: Inner,
    *,
    size: int | None = None,
    test_steps: int | None = None,
    norm: Norm = "transductive",
    tasks: Tasks = "vmap",
    parts: int = 1,
    clip: float | None = None,
) -> Algorithm:
    """theta <- theta + epsilon mean_k (phi_k - theta) (Nichol et al., 2018).

    phi_k is where `inner.steps` on minibatches of `size` rows of task k's support end,
    all rows each step by default. epsilon is the one player's optimiser: `sgd(epsilon)`
    is the paper's. Training reads `support` alone, which may hold more shots than in
    tests; `predict` is MAML's, of `test_steps` on the whole support set.

    The inner optimiser starts afresh in every task, where the authors' code keeps
    Adam's second moments from task to task: a task's end is then a function of theta
    and its own rows, whatever came before, and tasks can be computed side by side.

    Raises ValueError for inner rates that move leaves which the player freezes, for an
    inner mode, since there is nothing to differentiate, and as `reptile_gradient` does.
    """
    (name,) = players
    model, plan, _ = players[name]
    check_norm(norm)
    check_inner(inner)
    if inner.mode != "unrolled" or not isinstance(inner.tx, tuple):
        mode = "an Implicit" if isinstance(inner.mode, Implicit) else repr(inner.mode)
        raise ValueError(
            "reptile differentiates no inner step: it takes mode 'unrolled', the "
            "default, and an optax transformation; "
            f"found mode {mode} and tx of type {type(inner.tx).__name__}"
        )
    moves, outer = flatten(inner.rates), flatten(plan.rates)
    if closed := [path for path, rate in moves.items() if rate and not outer[path]]:
        raise ValueError(
            "reptile moves the start to where tasks end, but these move within tasks "
            f"and are frozen outside: {', '.join(closed[:5])}"
        )

    def objective(params_of: Mapping, memory: dict, batch: Batch, key: Key):
        seen, own = Seen(memory["stats"], key, True, memory[STEPS]), batch["support"]
        params, stats = params_of[name], memory["stats"][name]
        outputs, moved = on_support(model, params, stats, own["inputs"], norm, seen)
        value = mean_loss(outputs, own, loss)
        return value, (
            memory | {"stats": kept(name, moved, norm, seen)},
            {"loss": value},
        )

    open_rates, _ = partition(inner.rates, trainable(plan.rates))
    tx = optax.chain(inner.tx, by_rate({name: open_rates}))
    rule = reptile_gradient(tx, inner.steps, size=size, tasks=tasks, parts=parts)
    rule = rule if clip is None else clipped(clip, rule)
    stages = sequence(descend(players, objective, rule), counting(STEPS))
    learner = maml(model, loss, inner, test_steps=test_steps, norm=norm, name=name)
    return algorithm(players, stages, predicting(learner, tasks, parts))


def reptile_gradient(
    tx: optax.GradientTransformation,
    steps: int,
    *,
    size: int | None = None,
    stream: str = "support",
    tasks: Tasks = "vmap",
    parts: int = 1,
) -> GradientRule:
    """mean_k (theta - phi_k), phi_k after `steps` of `tx` on task k's own objective.

    (Nichol et al., 2018). The objective sees a batch of one task, `{stream: rows}`;
    the rule's batch holds all, [K B ...]. Each step's `size` rows come from passes over
    the task's rows in random order, padding never among them. A task without rows does
    not count. Value and metrics are means over steps and tasks, memory is the last
    step's. Raises ValueError for no steps, and for more rows a step than there are.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected 1 or more")

    def rule(f: Callable, train: Any, batch: Batch, key: Key):
        own = batch[stream]
        rows = own["weight"].shape[1]
        if size is not None and not 1 <= size <= rows:
            raise ValueError(f"size is {size}, expected 1 to {rows}: a task's rows")

        def one(own: Stream, key: Key) -> tuple:
            return _end_of(f, train, own, key)

        count = (own["weight"].sum(-1) > 0).astype(own["weight"].dtype)
        keys = jax.random.split(key, len(count))
        gone, value, aux = over_tasks(one, (own, keys), tasks, parts)
        share = count / jnp.maximum(count.sum(), 1)

        def mean(x: Array) -> Array:
            floating = jnp.issubdtype(x.dtype, jnp.floating)
            return jnp.tensordot(share.astype(x.dtype), x, 1) if floating else x[0]

        value, aux, grads = jax.tree.map(mean, (value, aux, gone))
        return (value, aux), grads

    def _end_of(f: Callable, train: Any, own: Stream, key: Key) -> tuple:
        """(theta - phi, mean value, (memory, metrics)) of one task."""
        k_rows, k_steps = jax.random.split(key)
        take = None if size is None else draws(k_rows, own["weight"], steps, size)

        def step(carry: tuple, i: Array) -> tuple:
            moving, state = carry
            part = own if take is None else jax.tree.map(lambda x: x[take[i]], own)
            at = jax.random.fold_in(k_steps, i)
            slope = jax.value_and_grad(f, has_aux=True)
            (value, aux), grads = slope(moving, {stream: part}, at)
            updates, state = tx.update(grads, state, moving)
            return (optax.apply_updates(moving, updates), state), (value, aux)

        start = (train, tx.init(train))
        (end, _), (values, (memory, metrics)) = lax.scan(step, start, jnp.arange(steps))
        gone = jax.tree.map(lambda a, b: a - b, train, end)
        memory = jax.tree.map(lambda x: x[-1], memory)
        metrics = jax.tree.map(lambda x: x.mean(0), metrics)
        return gone, values.mean(), (memory, metrics)

    return rule


def draws(key: Key, weight: Array, steps: int, size: int) -> Array:
    """Row numbers [steps size] of minibatches: passes in random order, end to end.

    Rows of weight 0 (weight [B]) are never drawn. With them there are more passes
    than orders, which then come round again.
    """
    rows = len(weight)
    passes = -(-steps * size // rows)
    noise = jax.random.uniform(key, (passes, rows))
    orders = jnp.argsort(jnp.where(weight > 0, noise, jnp.inf), axis=-1)
    real = jnp.maximum((weight > 0).sum(), 1)
    at = jnp.arange(steps * size)
    return orders[(at // real) % passes, at % real].reshape(steps, size)
