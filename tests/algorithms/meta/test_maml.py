"""MAML: exact meta-gradients, any inner optimiser, any subset of leaves."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import WIDTHS, network, player, squared, waves

from tl_jax.algorithms.meta import Inner, adapt, episodic, inner_rates, maml
from tl_jax.transfer import chain, freeze, full, rate
from tl_jax.tree import flatten, merge, partition

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))


def learned(inner_tx, *, steps=2, plan=None, **how):
    """(algorithm, state, frozen, batch) of MAML on sine waves, by steps of size 1."""
    model = network()
    one = player(model, optax.sgd(1.0))
    inner = Inner(inner_rates(one.plan, plan), inner_tx, steps, **how)
    made = episodic({"model": one}, maml(model, squared, inner), squared)
    state, frozen = made.init(jax.random.key(0), {"model": one})
    return made, state, frozen, waves()


def meta_gradient(made, state, frozen, batch):
    """What a step of size 1 subtracts."""
    after, _ = jax.jit(made.step)(state, frozen, batch, jax.random.key(1))
    return jax.tree.map(lambda a, b: a - b, state.train["model"], after.train["model"])


def by_hand(params, batch, tx, steps):
    """The meta-loss in Python loops over tasks and steps."""
    model = network()

    def cost(params, stream):
        outputs, _ = model.apply(params, {}, stream["inputs"])
        return jnp.square(outputs.logits - stream["labels"]).mean()

    total = 0.0
    for k in range(len(batch["support"]["labels"])):
        support, query = jax.tree.map(lambda x, k=k: x[k], (*batch.values(),))
        own, state = params, tx.init(params)
        for _ in range(steps):
            updates, state = tx.update(jax.grad(cost)(own, support), state, own)
            own = optax.apply_updates(own, updates)
        total += cost(own, query) / len(batch["support"]["labels"])
    return total


OPTIMISERS = {
    "sgd": optax.sgd(0.05),
    "momentum": optax.sgd(0.05, momentum=0.9),
    "adam": optax.adam(0.05),
    "clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.05)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_meta_gradient_is_that_of_plain_loops(name):
    tx = OPTIMISERS[name]
    made, state, frozen, batch = learned(tx, steps=3)
    found = meta_gradient(made, state, frozen, batch)
    wanted = jax.grad(by_hand)(state.train["model"], batch, tx, 3)
    chex.assert_trees_all_close(found, wanted, rtol=2e-4, atol=2e-5)


def test_the_meta_gradient_is_that_of_finite_differences():
    """In float64, through five steps of momentum, along every leaf."""
    with jax.enable_x64(True):
        made, state, frozen, batch = learned(optax.sgd(0.05, momentum=0.9), steps=5)
        found = flatten(meta_gradient(made, state, frozen, batch))
        train = state.train["model"]
        step = jax.jit(made.step)

        def loss(train):
            moved = state._replace(train={"model": train})
            return step(moved, frozen, batch, jax.random.key(1))[1]["loss"]

        rng, epsilon = np.random.default_rng(0), 1e-5
        for path, gradient in found.items():
            along = rng.normal(size=gradient.shape)
            by = {p: along if p == path else 0.0 for p in found}

            def at(side, by=by):
                return loss(
                    jax.tree.unflatten(
                        jax.tree.structure(train),
                        [x + side * epsilon * by[p] for p, x in flatten(train).items()],
                    )
                )

            wanted = (at(1) - at(-1)) / (2 * epsilon)
            np.testing.assert_allclose((gradient * along).sum(), wanted, rtol=1e-6)


def test_first_order_takes_task_gradients_for_constants():
    """The gradient is the query's, at the adapted parameters."""
    made, state, frozen, batch = learned(optax.sgd(0.05), mode="first_order")
    found = meta_gradient(made, state, frozen, batch)
    model, train = network(), state.train["model"]
    total = jax.tree.map(jnp.zeros_like, train)
    for k in range(3):
        support, query = jax.tree.map(lambda x, k=k: x[k], (*batch.values(),))

        def cost(params, stream):
            outputs, _ = model.apply(params, {}, stream["inputs"])
            return jnp.square(outputs.logits - stream["labels"]).mean()

        own = train
        for _ in range(2):
            own = jax.tree.map(
                lambda p, g: p - 0.05 * g, own, jax.grad(cost)(own, support)
            )
        total = jax.tree.map(lambda t, g: t + g / 3, total, jax.grad(cost)(own, query))
    chex.assert_trees_all_close(found, total, rtol=1e-4, atol=1e-5)
    exact = meta_gradient(*learned(optax.sgd(0.05)))
    assert not np.allclose(found["head"]["kernel"], exact["head"]["kernel"], rtol=1e-3)


@pytest.mark.parametrize("how", [{"remat": True}, {"tasks": "map"}, {"parts": 3}])
def test_how_it_is_computed_changes_nothing(how):
    model = network()
    one = player(model, optax.sgd(1.0))
    found = []
    for own in ({}, how):
        remat = own.get("remat", False)
        inner = Inner(one.plan.rates, optax.sgd(0.05), 2, remat=remat)
        rest = {k: v for k, v in own.items() if k != "remat"}
        rest |= {"tasks": "map"} if "parts" in own else {}
        learner = maml(model, squared, inner)
        made = episodic({"model": one}, learner, squared, **rest)
        state, frozen = made.init(jax.random.key(0), {"model": one})
        found.append(meta_gradient(made, state, frozen, waves()))
    chex.assert_trees_all_close(*found, rtol=1e-5, atol=1e-6)


def test_no_inner_step_is_plain_training_on_queries():
    made, state, frozen, batch = learned(optax.sgd(0.05), steps=0)
    found = meta_gradient(made, state, frozen, batch)
    wanted = jax.grad(by_hand)(state.train["model"], batch, optax.sgd(0.05), 0)
    chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_inner_plan_says_what_a_task_moves():
    """ANIL: the head alone moves, and the body still gets a meta-gradient."""
    model = network()
    plan = full(*model.init(jax.random.key(0)))
    inner = Inner(inner_rates(plan, HEAD), optax.sgd(0.1), 3)
    support = jax.tree.map(lambda x: x[0], waves()["support"])

    def value(params, i, key):
        outputs, _ = model.apply(params, {}, support["inputs"])
        return squared(outputs, support).mean()

    after, before = adapt(value, {"model": plan.params}, "model", inner)
    chex.assert_trees_all_equal(after["blocks"], plan.params["blocks"])
    assert not np.allclose(after["head"]["kernel"], plan.params["head"]["kernel"])
    assert {p: x.shape for p, x in flatten(before).items()} == {
        "head/bias": (3, 1),
        "head/kernel": (3, WIDTHS[-1], 1),
    }
    gradient = meta_gradient(*learned(optax.sgd(0.05), plan=HEAD))
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient))


def test_a_frozen_head_is_boil():
    """All but the head moves within a task, and the head still gets a meta-gradient."""
    body = freeze("head/.*")
    plan = full(*network().init(jax.random.key(0)))
    inner = Inner(inner_rates(plan, body), optax.sgd(0.1), 3)
    support = jax.tree.map(lambda x: x[0], waves()["support"])

    def value(params, i, key):
        outputs, _ = network().apply(params, {}, support["inputs"])
        return squared(outputs, support).mean()

    after, before = adapt(value, {"model": plan.params}, "model", inner)
    chex.assert_trees_all_equal(after["head"], plan.params["head"])
    assert set(flatten(before)) == {p for p in flatten(after) if "blocks/" in p}
    gone = flatten(jax.tree.map(np.subtract, after, plan.params)["blocks"])
    assert all(np.abs(x).max() > 0 for x in gone.values())
    gradient = meta_gradient(*learned(optax.sgd(0.05), plan=body))
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradient))


def test_inner_rates_scale_steps():
    """A leaf of rate 2 goes twice as far."""
    model = network()
    plan = full(*model.init(jax.random.key(0)))
    support = jax.tree.map(lambda x: x[0], waves()["support"])

    def value(params, i, key):
        outputs, _ = model.apply(params, {}, support["inputs"])
        return squared(outputs, support).mean()

    ends = []
    for factor in (1.0, 2.0):
        rates = inner_rates(plan, rate("head/bias", factor))
        inner = Inner(rates, optax.sgd(0.1), 1)
        end, _ = adapt(value, {"model": plan.params}, "model", inner)
        ends.append(end["head"]["bias"] - plan.params["head"]["bias"])
    np.testing.assert_allclose(ends[1], 2 * ends[0], rtol=1e-5)


def test_outer_frozen_leaves_may_move_within_a_task():
    """They adapt and start again where they were: only the head is meta-learned."""
    model = network()
    one = player(model, optax.sgd(1.0), HEAD)
    inner = Inner(inner_rates(one.plan, rate(".*", 1.0)), optax.sgd(0.05), 1)
    made = episodic({"model": one}, maml(model, squared, inner), squared)
    state, frozen = made.init(jax.random.key(0), {"model": one})
    assert set(flatten(state.train["model"])) == {"head/kernel", "head/bias"}
    found = meta_gradient(made, state, frozen, waves())
    params = merge(state.train["model"], frozen["model"])
    wanted = jax.grad(by_hand)(params, waves(), optax.sgd(0.05), 1)
    moving, _ = partition(wanted, jax.tree.map(lambda r: r != 0, one.plan.rates))
    chex.assert_trees_all_close(found, moving, rtol=1e-4, atol=1e-5)


def test_predictions_take_their_own_number_of_steps():
    model = network()
    one = player(model, optax.sgd(1.0))
    batch, ends = waves(), []
    for train, test in ((1, 4), (4, None)):
        inner = Inner(one.plan.rates, optax.sgd(0.05), train)
        learner = maml(model, squared, inner, test_steps=test)
        made = episodic({"model": one}, learner, squared)
        state, frozen = made.init(jax.random.key(0), {"model": one})
        ends.append(jax.jit(made.predict)(state, frozen, batch).logits)
    assert ends[0].shape == (3, 4, 1)
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5)


def test_adaptation_sees_no_query():
    """Other queries change no prediction of one, without batch norm."""
    made, state, frozen, batch = learned(optax.sgd(0.05))
    other = {**batch, "query": jax.tree.map(lambda x: x.copy(), batch["query"])}
    other["query"]["inputs"]["features"][:, 1:] += 1.0
    first, second = (made.predict(state, frozen, b).logits for b in (batch, other))
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert not np.allclose(first[:, 1:], second[:, 1:])


def test_padding_changes_nothing():
    """Rows of weight 0, and a task without queries, neither adapt nor count."""
    made, state, frozen, batch = learned(optax.sgd(0.05))
    wild = jax.tree.map(lambda x: np.concatenate([x, x[:1]], 0), batch)
    wild["query"]["weight"][-1] = 0
    for part in wild.values():
        part["inputs"]["features"] = np.pad(
            part["inputs"]["features"], ((0, 0), (0, 1), (0, 0)), constant_values=4.0
        )
        part["labels"] = np.pad(part["labels"], ((0, 0), (0, 1), (0, 0)))
        part["weight"] = np.pad(part["weight"], ((0, 0), (0, 1)))
    first = meta_gradient(made, state, frozen, batch)
    second = meta_gradient(made, state, frozen, wild)
    chex.assert_trees_all_close(first, second, rtol=1e-5, atol=1e-6)


def test_bad_arguments_are_named():
    model = network()
    plan = full(*model.init(jax.random.key(0)))
    with pytest.raises(ValueError, match="moves nothing"):
        inner_rates(plan, freeze(".*"))
    with pytest.raises(ValueError, match="expected 0 or more"):
        learned(optax.sgd(0.1), steps=-1)[0].predict(*learned(optax.sgd(0.1))[1:])
    made, *rest = learned(optax.sgd(0.1), mode="first_ordr")
    with pytest.raises(ValueError, match=r"mode.*'first_ordr'.*first_order"):
        made.step(*rest, jax.random.key(0))
    with pytest.raises(ValueError, match=r"norm.*'suport'.*support"):
        maml(model, squared, Inner(plan.rates, optax.sgd(0.1)), norm="suport")
