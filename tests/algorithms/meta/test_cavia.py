"""CAVIA: a task moves its context alone."""

import chex
import jax
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import Inner, episodic, inner_rates, maml
from tl_jax.transfer import context, context_only
from tl_jax.tree import flatten, merge

SITES = r"blocks/\d+"


def made(steps=2, **how):
    one = player(network(), optax.sgd(1.0), context(3, SITES, **how))
    inner = Inner(inner_rates(one.plan, context_only()), optax.sgd(0.5), steps)
    built = episodic({"model": one}, maml(network(), squared, inner), squared)
    return built, *built.init(jax.random.key(0), {"model": one}), waves()


def by_hand(train, frozen, batch, steps):
    """The meta-loss in loops that move the contexts from zero."""

    def cost(params, stream):
        outputs, _ = network().apply(params, {}, stream["inputs"])
        return squared(outputs, stream).mean()

    total = 0.0
    for k in range(3):
        own = merge(train, frozen)
        for _ in range(steps):
            slope = flatten(jax.grad(cost)(own, task(batch["support"], k)))
            leaves = [
                x - 0.5 * slope[p] if p.endswith("/context/context") else x
                for p, x in flatten(own).items()
            ]
            own = jax.tree.unflatten(jax.tree.structure(own), leaves)
        total += cost(own, task(batch["query"], k)) / 3
    return total


@pytest.mark.parametrize("how", [{}, {"shared": True}, {"form": "film"}])
def test_the_gradient_is_that_of_plain_loops(how):
    """Weights and u learn through the contexts' steps; contexts themselves don't."""
    built, state, frozen, batch = made(**how)
    start = state.train["model"]
    contexts = [p for p in flatten(frozen["model"]) if p.endswith("context/context")]
    assert contexts == list(flatten(frozen["model"]))
    assert len(contexts) == (1 if how.get("shared") else 2)
    assert not any(np.any(x) for x in flatten(frozen["model"]).values())
    after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    found = jax.tree.map(lambda a, b: a - b, start, after.train["model"])
    wanted = jax.grad(by_hand)(start, frozen["model"], batch, 2)
    chex.assert_trees_all_close(found, wanted, rtol=5e-4, atol=5e-5)
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(found))


def test_contexts_are_of_one_task():
    """Predictions of three tasks at once are those of each alone, and they differ."""
    built, state, frozen, batch = made(shared=True)
    whole = jax.jit(built.predict)(state, frozen, batch).logits
    for k in range(3):
        alone = jax.tree.map(lambda x, k=k: x[k : k + 1], batch)
        one = built.predict(state, frozen, alone).logits
        np.testing.assert_allclose(whole[k : k + 1], one, rtol=1e-4, atol=1e-5)
    none, *_ = made(steps=0, shared=True)
    still = none.predict(state, frozen, batch).logits
    assert np.abs(whole - still).max() > 1e-3
