"""Meta-SGD: rates that are learned, an element each."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import (
    Inner,
    episodic,
    inner_rates,
    joined,
    learned_rates,
    maml,
    meta_sgd,
)
from tl_jax.transfer import chain, freeze, full, rate
from tl_jax.tree import NoMatch, flatten

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))


def made(tx=None, steps=2, inner_plan=None, initial=(0.005, 0.1), **how):
    """(algorithm, state, frozen, batch): two players, both by steps of size 1."""
    one = player(network(), optax.sgd(1.0))
    rates = inner_rates(one.plan, inner_plan)
    key = jax.random.key(3)
    own = learned_rates(key, one.plan, rates, optax.sgd(1.0), initial=initial)
    players = {"model": one, "rates": own}
    learner = maml(network(), squared, Inner(rates, tx or meta_sgd(), steps, **how))
    built = episodic(players, learner, squared)
    return built, *built.init(jax.random.key(0), players), waves()


def gradients(built, state, frozen, batch):
    after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    return jax.tree.map(lambda a, b: a - b, state.train, after.train)


def by_hand(train, batch, steps, first_order=False):
    """The meta-loss in Python loops."""

    def cost(params, stream):
        outputs, _ = network().apply(params, {}, stream["inputs"])
        return squared(outputs, stream).mean()

    total = 0.0
    for k in range(3):
        own = train["model"]
        for _ in range(steps):
            slope = jax.grad(cost)(own, task(batch["support"], k))
            slope = jax.lax.stop_gradient(slope) if first_order else slope
            own = jax.tree.map(lambda p, a, g: p - a * g, own, train["rates"], slope)
        total += cost(own, task(batch["query"], k)) / 3
    return total


@pytest.mark.parametrize("mode", ["unrolled", "first_order"])
def test_start_and_rates_get_the_gradient_of_plain_loops(mode):
    built, state, frozen, batch = made(mode=mode)
    found = gradients(built, state, frozen, batch)
    slope = jax.jit(jax.grad(by_hand), static_argnums=(2, 3))
    wanted = slope(state.train, batch, 2, mode == "first_order")
    chex.assert_trees_all_close(found, wanted, rtol=2e-4, atol=2e-5)
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(found["rates"]))


def test_equal_rates_are_maml():
    built, state, frozen, batch = made(initial=0.05)
    one = player(network(), optax.sgd(1.0))
    learner = maml(network(), squared, Inner(one.plan.rates, optax.sgd(0.05), 2))
    other = episodic({"model": one}, learner, squared)
    start, rest = other.init(jax.random.key(0), {"model": one})
    found = gradients(built, state, frozen, batch)["model"]
    wanted = gradients(other, start, rest, batch)["model"]
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_rates_are_of_what_a_task_moves():
    """Of the head alone, the rest are holes; and jit, eager and one task agree."""
    built, state, frozen, batch = made(inner_plan=HEAD)
    assert set(flatten(state.train["rates"])) == {"head/kernel", "head/bias"}
    whole = jax.jit(built.predict)(state, frozen, batch).logits
    for k in range(3):
        alone = jax.tree.map(lambda x, k=k: x[k : k + 1], batch)
        one = built.predict(state, frozen, alone).logits
        np.testing.assert_allclose(whole[k : k + 1], one, rtol=1e-5, atol=1e-6)


def test_momentum_goes_before_learned_rates():
    tx = joined(optax.trace(0.9), meta_sgd())
    built, state, frozen, batch = made(tx, initial=0.05)
    one = player(network(), optax.sgd(1.0))
    plain = Inner(one.plan.rates, optax.sgd(0.05, momentum=0.9), 2)
    other = episodic({"model": one}, maml(network(), squared, plain), squared)
    np.testing.assert_allclose(
        built.predict(state, frozen, batch).logits,
        other.predict(state, frozen, batch).logits,
        rtol=1e-5,
    )


def test_initial_rates_are_drawn_within_their_range():
    plan = full(*network().init(jax.random.key(0)))
    draw = [
        learned_rates(jax.random.key(k), plan, plan.rates, optax.sgd(1.0)).plan.params
        for k in (0, 0, 1)
    ]
    chex.assert_trees_all_equal(*draw[:2])
    assert jax.tree.map(jnp.shape, draw[0]) == jax.tree.map(jnp.shape, plan.params)
    every = np.concatenate([np.ravel(x) for x in jax.tree.leaves(draw[0])])
    assert 0.005 <= every.min() < 0.02
    assert 0.08 < every.max() <= 0.1
    assert not np.allclose(draw[0]["head"]["kernel"], draw[2]["head"]["kernel"])


def test_bad_arguments_are_named():
    one = player(network(), optax.sgd(1.0))
    key, tx = jax.random.key(0), optax.sgd(1.0)
    with pytest.raises(ValueError, match="initial is -0.1"):
        learned_rates(key, one.plan, one.plan.rates, tx, initial=-0.1)
    with pytest.raises(TypeError, match="no model to apply"):
        learned_rates(key, one.plan, one.plan.rates, tx).model.apply({}, {}, {})
    built, *rest = made(meta_sgd("ratse"))
    with pytest.raises(NoMatch, match="player 'ratse' matches nothing; nearest: rates"):
        built.predict(*rest)
    head = learned_rates(key, one.plan, inner_rates(one.plan, HEAD), tx)
    players = {"model": one, "rates": head}
    learner = maml(network(), squared, Inner(one.plan.rates, meta_sgd()))
    built = episodic(players, learner, squared)
    state, frozen = built.init(key, players)
    with pytest.raises(ValueError, match="it lacks blocks/0/bias"):
        built.predict(state, frozen, waves())
