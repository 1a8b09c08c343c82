"""Reptile: the start moves to where tasks end, and minibatches never hold padding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import (
    Implicit,
    Inner,
    episodic,
    inner_rates,
    maml,
    meta_sgd,
    reptile,
)
from tl_jax.algorithms.meta.reptile import draws
from tl_jax.models.mlp import mlp
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))


def made(tx=None, steps=3, outer=1.0, inner_plan=None, **how):
    """(algorithm, state, frozen, batch): reptile on sine waves, epsilon `outer`."""
    one = player(network(), optax.sgd(outer))
    inner = Inner(inner_rates(one.plan, inner_plan), tx or optax.sgd(0.05), steps)
    built = reptile({"model": one}, squared, inner, **how)
    state, frozen = built.init(jax.random.key(0), {"model": one})
    return built, state, frozen, waves()


def cost(params, support):
    outputs, _ = network().apply(params, {}, support["inputs"])
    return squared(outputs, support).mean()


def ends(params, batch, tx, steps):
    """Where every task ends, by a plain loop over steps on all rows."""
    slope = jax.jit(jax.grad(cost))
    for k in range(len(batch["support"]["labels"])):
        support, own, state = task(batch["support"], k), params, tx.init(params)
        for _ in range(steps):
            updates, state = tx.update(slope(own, support), state, own)
            own = optax.apply_updates(own, updates)
        yield own


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_start_goes_half_way_to_the_mean_end(name):
    """With Adam as the paper has it, without a first moment."""
    tx = {"sgd": optax.sgd(0.05), "adam": optax.adam(0.02, b1=0.0)}[name]
    built, state, frozen, batch = made(tx, outer=0.5)
    after, metrics = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    start = state.train["model"]
    mean = jax.tree.map(lambda *x: sum(x) / 3, *ends(start, batch, tx, 3))
    wanted = jax.tree.map(lambda a, b: (a + b) / 2, start, mean)
    chex.assert_trees_all_close(after.train["model"], wanted, rtol=1e-5, atol=1e-6)
    assert np.isfinite(metrics["loss"])
    assert after.memory["meta_steps"] == 1


def test_one_step_is_joint_training():
    """With one inner step the displacement is the mean gradient times its rate."""
    built, state, frozen, batch = made(steps=1)
    after, metrics = built.step(state, frozen, batch, jax.random.key(1))
    start = state.train["model"]
    values, slopes = zip(
        *(jax.value_and_grad(cost)(start, task(batch["support"], k)) for k in range(3)),
        strict=True,
    )
    wanted = jax.tree.map(lambda p, *g: p - 0.05 * sum(g) / 3, start, *slopes)
    chex.assert_trees_all_close(after.train["model"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], sum(values) / 3, rtol=1e-5)


def test_minibatches_pass_over_all_rows():
    """Each pass shows every real row once, in an order of its own, and no padding."""
    weight = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    drawn = np.asarray(draws(jax.random.key(0), weight, 5, 3)).ravel()
    real = {0, 2, 3, 5, 6}
    assert [set(drawn[i : i + 5]) for i in (0, 5, 10)] == [real] * 3
    assert drawn[:5].tolist() != drawn[5:10].tolist()
    other = np.asarray(draws(jax.random.key(1), weight, 5, 3)).ravel()
    assert drawn.tolist() != other.tolist()


def test_minibatches_are_drawn_by_key():
    """Two rows a step: seeded, task by task, and what a loop over the draws finds."""
    built, state, frozen, batch = made(size=2)
    step = jax.jit(built.step)
    first, again, other = (
        step(state, frozen, batch, jax.random.key(k))[0].train["model"]
        for k in (1, 1, 2)
    )
    chex.assert_trees_all_equal(first, again)
    assert not np.allclose(first["head"]["bias"], other["head"]["bias"], atol=1e-4)
    everything, *_ = made(size=5)
    whole, *_ = made()
    a, b = (
        jax.jit(built.step)(state, frozen, batch, jax.random.key(1))[0].train["model"]
        for built in (everything, whole)
    )
    chex.assert_trees_all_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", [{"tasks": "map"}, {"tasks": "map", "parts": 3}])
def test_how_tasks_are_computed_changes_nothing(how):
    found = []
    for own in ({}, how):
        built, *rest = made(size=2, **own)
        found.append(jax.jit(built.step)(*rest, jax.random.key(1))[0].train)
    chex.assert_trees_all_close(*found, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing():
    """Wild rows of weight 0 and a task of padding, with minibatches of all rows."""
    built, state, frozen, batch = made()
    wild = jax.tree.map(lambda x: np.concatenate([x, x[:1]], 0), batch)
    wild["support"]["weight"][-1] = 0
    support = wild["support"]
    support["inputs"]["features"] = np.pad(
        support["inputs"]["features"], ((0, 0), (0, 2), (0, 0)), constant_values=9.0
    )
    support["labels"] = np.pad(support["labels"], ((0, 0), (0, 2), (0, 0)))
    support["weight"] = np.pad(support["weight"], ((0, 0), (0, 2)))
    support["index"] = np.pad(support["index"], ((0, 0), (0, 2)), constant_values=-1)
    drawing, *_ = made(size=5)
    first, second, third = (
        jax.jit(step)(state, frozen, b, jax.random.key(1))[0].train
        for step, b in ((built.step, batch), (built.step, wild), (drawing.step, wild))
    )
    chex.assert_trees_all_close(first, second, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(first, third, rtol=1e-5, atol=1e-6)


def test_the_inner_plan_says_what_moves():
    """Leaves that no task moves stay where they are, to the bit."""
    built, state, frozen, batch = made(inner_plan=HEAD)
    after, _ = built.step(state, frozen, batch, jax.random.key(1))
    before, now = state.train["model"], after.train["model"]
    chex.assert_trees_all_equal(now["blocks"], before["blocks"])
    assert not np.allclose(now["head"]["kernel"], before["head"]["kernel"])


def test_predictions_are_those_of_maml():
    built, state, frozen, batch = made(test_steps=6)
    one = player(network(), optax.sgd(1.0))
    learner = maml(network(), squared, Inner(one.plan.rates, optax.sgd(0.05), 6))
    other = episodic({"model": one}, learner, squared)
    np.testing.assert_allclose(
        built.predict(state, frozen, batch).logits,
        other.predict(state, frozen, batch).logits,
        rtol=1e-6,
    )


@pytest.mark.parametrize("norm", ["transductive", "support", "running"])
def test_only_running_statistics_are_kept(norm):
    one = player(mlp(1, (6,), classes=1, batch_norms=True), optax.sgd(1.0))
    inner = Inner(one.plan.rates, optax.sgd(0.05), 2)
    built = reptile({"model": one}, squared, inner, norm=norm)
    state, frozen = built.init(jax.random.key(0), {"model": one})
    after, _ = built.step(state, frozen, waves(), jax.random.key(1))
    pair = (flatten(s.memory["stats"]["model"]) for s in (state, after))
    same = all(map(np.array_equal, *(found.values() for found in pair)))
    assert same == (norm != "running")


def test_bad_arguments_are_named():
    one = player(network(), optax.sgd(1.0), freeze("blocks/.*"))
    everything = jax.tree.map(lambda _: 1.0, one.plan.rates)
    with pytest.raises(ValueError, match="frozen outside: blocks/0/bias"):
        reptile({"model": one}, squared, Inner(everything, optax.sgd(0.1)))
    for mode in ("first_order", Implicit(1.0)):
        inner = Inner(one.plan.rates, optax.sgd(0.1), mode=mode)
        with pytest.raises(ValueError, match="found mode .*(first_order|Implicit)"):
            reptile({"model": one}, squared, inner)
    with pytest.raises(ValueError, match="tx of type function"):
        reptile({"model": one}, squared, Inner(one.plan.rates, meta_sgd()))
    with pytest.raises(ValueError, match="steps is 0, expected 1 or more"):
        made(steps=0)
    built, *rest = made(size=6)
    with pytest.raises(ValueError, match="size is 6, expected 1 to 5"):
        built.step(*rest, jax.random.key(0))
