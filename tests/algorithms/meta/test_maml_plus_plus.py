"""MAML++: losses, rates, norms and derivatives by inner step."""

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
    learned_rates,
    maml,
    maml_plus_plus,
    per_step_rates,
    step_weights,
)
from tl_jax.models.mlp import mlp
from tl_jax.transfer import at_step, freeze, per_step_norms, stats_at_step
from tl_jax.tree import merge

NO_STEP = freeze(".*/patch/per_step/.*")


def made(learner=maml_plus_plus, steps=3, mode="unrolled", **how):
    one = player(network(), optax.sgd(1.0))
    inner = Inner(one.plan.rates, optax.sgd(0.05), steps, mode)
    built = episodic({"model": one}, learner(network(), squared, inner, **how), squared)
    return built, *built.init(jax.random.key(0), {"model": one}), waves()


def gradient(built, state, frozen, batch, step=0):
    """What a step of size 1 subtracts when `step` meta-steps are done."""
    memory = state.memory | {"meta_steps": jnp.int32(step)}
    return taken(jax.jit(built.step), state._replace(memory=memory), frozen, batch)


def taken(step, state, frozen, batch):
    after, _ = step(state, frozen, batch, jax.random.key(1))
    return jax.tree.map(lambda a, b: a - b, state.train["model"], after.train["model"])


def by_hand(params, batch, weights):
    """sum_i w_i L_query(phi_i) by loops."""

    def cost(params, stream):
        outputs, _ = network().apply(params, {}, stream["inputs"])
        return squared(outputs, stream).mean()

    total = 0.0
    for k in range(3):
        own = params
        for weight in weights:
            slope = jax.grad(cost)(own, task(batch["support"], k))
            own = jax.tree.map(lambda p, g: p - 0.05 * g, own, slope)
            total += weight * cost(own, task(batch["query"], k)) / 3
    return total


def test_weights_are_those_of_the_authors_code():
    """Of 4 steps annealed over 10: by a loop, with its floor of 0.03 / 4."""
    for step in range(10):
        each = max(1 / 4 - step / 4 / 10, 0.03 / 4)
        last = min(1 / 4 + step * 3 / 4 / 10, 1 - 3 * 0.03 / 4)
        wanted = [each, each, each, last]
        np.testing.assert_allclose(step_weights(4, step, 10), wanted, rtol=1e-6)
    np.testing.assert_array_equal(step_weights(4, 10, 10), [0, 0, 0, 1])
    np.testing.assert_array_equal(step_weights(4, 0, 0), [0, 0, 0, 1])
    np.testing.assert_array_equal(step_weights(1, 3, 10), [1])


def test_every_step_has_a_loss_until_the_last_has_all():
    built, *rest = made(anneal_steps=10)
    state, _, batch = rest
    for step in (0, 4):
        found = gradient(built, *rest, step)
        weights = np.asarray(step_weights(3, step, 10))
        wanted = jax.grad(by_hand)(state.train["model"], batch, weights)
        chex.assert_trees_all_close(found, wanted, rtol=2e-4, atol=2e-5)
    late = gradient(built, *rest, 10)
    chex.assert_trees_all_close(late, gradient(*made(maml)), rtol=1e-4, atol=1e-5)


def test_derivatives_are_of_first_order_at_first():
    """One compiled program gives FOMAML's gradient, then MAML's."""
    built, state, frozen, batch = made(second_order_from=5)
    traced, found = [], []

    @jax.jit
    def step(*given):
        traced.append(given)
        return built.step(*given)

    for count in (4, 5):
        memory = state.memory | {"meta_steps": jnp.int32(count)}
        found.append(taken(step, state._replace(memory=memory), frozen, batch))
    assert len(traced) == 1
    first, second = (gradient(*made(maml, mode=m)) for m in ("first_order", "unrolled"))
    chex.assert_trees_all_close(found[0], first, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(found[1], second, rtol=1e-4, atol=1e-5)
    assert not np.allclose(first["head"]["kernel"], second["head"]["kernel"], rtol=0.01)


def test_the_meta_steps_are_counted():
    built, state, frozen, batch = made(anneal_steps=2)
    step = jax.jit(built.step)
    for count in range(3):
        assert state.memory["meta_steps"] == count
        state, metrics = step(state, frozen, batch, jax.random.key(1))
        same = np.allclose(metrics["loss"], metrics["last_loss"], rtol=1e-6)
        assert same == (count >= 2)


def test_rates_by_step():
    """Two learned rates a leaf: by a loop, the last again for further steps."""
    one = player(network(), optax.sgd(1.0))
    key = jax.random.key(3)
    how = dict(initial=(0.01, 0.08), steps=2)
    own = learned_rates(key, one.plan, one.plan.rates, optax.sgd(1.0), **how)
    players = {"model": one, "rates": own}
    inner = Inner(one.plan.rates, per_step_rates(), 2)
    learner = maml_plus_plus(network(), squared, inner, test_steps=4)
    built = episodic(players, learner, squared)
    state, frozen = built.init(jax.random.key(0), players)
    batch = waves()

    def cost(params, stream):
        outputs, _ = network().apply(params, {}, stream["inputs"])
        return squared(outputs, stream).mean()

    def path(train, k, steps):
        phi = train["model"]
        for i in range(steps):
            slope = jax.grad(cost)(phi, task(batch["support"], k))
            rates = jax.tree.map(lambda r, i=i: r[min(i, 1)], train["rates"])
            phi = jax.tree.map(lambda p, r, g: p - r * g, phi, rates, slope)
        return phi

    def total(train):
        return sum(cost(path(train, k, 2), task(batch["query"], k)) for k in range(3))

    after, _ = jax.jit(built.step)(state, frozen, batch, key)
    found = jax.tree.map(lambda a, b: 3 * (a - b), state.train, after.train)
    wanted = jax.grad(total)(state.train)
    chex.assert_trees_all_close(found, wanted, rtol=2e-4, atol=1e-4)
    assert all(x.shape == (2,) for x in jax.tree.leaves(found["rates"]))
    logits = built.predict(state, frozen, batch).logits[0]
    features = task(batch["query"], 0)["inputs"]
    wanted = network().apply(path(state.train, 0, 4), {}, features)[0].logits
    np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)


def test_rates_of_another_form_are_named():
    one = player(network(), optax.sgd(1.0))
    own = learned_rates(jax.random.key(0), one.plan, one.plan.rates, optax.sgd(1.0))
    players = {"model": one, "rates": own}
    inner = Inner(one.plan.rates, per_step_rates(), 2)
    built = episodic(players, maml(network(), squared, inner), squared)
    with pytest.raises(ValueError, match="for 'blocks/0/kernel', expected one a step"):
        built.predict(*built.init(jax.random.key(0), players), waves())


NORMED = mlp(1, (6, 6), classes=1, batch_norms=True, activation="tanh")


def normed(norm="transductive", steps=2, grafted=True, rate=0.05, **how):
    model = NORMED
    plan = [per_step_norms(steps)] if grafted else [freeze("blocks/./norm/.*")]
    one = player(model, optax.sgd(1.0), *plan)
    views = dict(view=at_step, stats_view=stats_at_step) if grafted else {}
    rates = inner_rates(one.plan, NO_STEP if grafted else None)
    inner = Inner(rates, optax.sgd(rate), steps, **views)
    learner = maml_plus_plus(model, squared, inner, norm=norm, **how)
    built = episodic({"model": one}, learner, squared)
    return built, *built.init(jax.random.key(0), {"model": one}), waves()


def test_fresh_norms_by_step_change_nothing():
    """Ones and zeros behind frozen norms: MAML without them, to rounding."""
    built, state, frozen, batch = normed()
    plain, start, rest, _ = normed(grafted=False)
    # Frozen norms would use fixed statistics; here the batch's are used in both.
    stats = state.memory["stats"]["model"]
    kept = {"stats": {"model": jax.tree.map(lambda x: x[0], stats)}}
    start = start._replace(memory=start.memory | kept)
    first = built.predict(state, frozen, batch).logits
    second = plain.predict(start, rest, batch).logits
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_each_step_has_its_own_scale():
    """Row i is of step i: rows of support steps 0 and 1, row 2 of the queries."""
    built, state, frozen, batch = normed()
    stepped, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    chex.assert_trees_all_equal(state.memory["stats"], stepped.memory["stats"])
    pair = (s.train["model"]["blocks"]["0"]["norm"] for s in (state, stepped))
    found = jax.tree.map(lambda a, b: a - b, *pair)
    assert found["scale"] is None
    rows = found["patch"]["per_step"]
    assert rows.scale.shape == (3, 6)
    assert (np.abs(rows.scale).max(1) > 0).all()
    predict = jax.jit(built.predict)
    before = predict(state, frozen, batch).logits
    for row in range(3):
        patch = state.train["model"]["blocks"]["0"]["norm"]["patch"]["per_step"]
        moved = jax.tree.map(lambda x: x, state.train)
        changed = type(patch)(patch.scale.at[row].add(0.5), patch.bias)
        moved["model"]["blocks"]["0"]["norm"]["patch"]["per_step"] = changed
        after = predict(state._replace(train=moved), frozen, batch).logits
        assert np.abs(after - before).max() > 1e-4


def test_statistics_by_step():
    """Under "running" row i moves to what queries see in a network after i steps.

    Steps of size 0 and rows of other scales: the first norm's row shows in the second's
    statistics.
    """
    built, state, frozen, batch = normed("running", rate=0.0, anneal_steps=4)
    patch = state.train["model"]["blocks"]["0"]["norm"]["patch"]
    own = patch["per_step"]
    scale = own.scale * jnp.array([[1.0], [2.0], [3.0]])
    patch["per_step"] = type(own)(scale, own.bias)
    after, metrics = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    old, new = (s.memory["stats"]["model"] for s in (state, after))
    params = merge(state.train["model"], frozen["model"])
    total = 0.0
    for i in range(3):
        own, kept, moved = at_step(params, i), stats_at_step(old, i), []
        for k in range(3):
            query = task(batch["query"], k)
            outputs, now = NORMED.apply(own, kept, query["inputs"], norm="batch")
            moved.append(now)
            total += 0.5 * (i > 0) * squared(outputs, query).mean() / 3
        wanted = jax.tree.map(lambda *x: sum(x) / 3, *moved)
        found = stats_at_step(new, i)
        chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-5)  # 1/2 each at first
    rows = new["blocks/1/norm"].var
    assert (np.abs(rows[1:] - rows[:-1]).max(1) > 1e-3).all()


def test_bad_arguments_are_named():
    rates = player(network(), optax.sgd(1.0)).plan.rates
    for steps, mode in ((0, "unrolled"), (2, "first_order")):
        inner = Inner(rates, optax.sgd(0.1), steps, mode)
        with pytest.raises(ValueError, match=f"found {steps} of '{mode}'"):
            maml_plus_plus(network(), squared, inner)
    inner = Inner(rates, optax.sgd(0.1), 1)
    with pytest.raises(ValueError, match="anneal_steps is -1"):
        maml_plus_plus(network(), squared, inner, anneal_steps=-1)
    with pytest.raises(ValueError, match="steps is 0, expected 1 or more"):
        per_step_norms(0)
    model = mlp(1, (6,), classes=1, batch_norms=True)
    with pytest.raises(ValueError, match="nearest: blocks/0/norm"):
        player(model, optax.sgd(1.0), per_step_norms(1, where="blocks/0/nrom"))
