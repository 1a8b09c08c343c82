"""Steps, optimiser states by group, and what happens when a plan changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy import model, numpy_gradients, player, squared, stream

from tl_jax import optim
from tl_jax.algorithms import algorithm, clipped, current, descend, replan, supervised
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten
from tl_jax.types import Player

KEY = jax.random.key(7)
ADAM = dict(b1=0.9, b2=0.999, eps=1e-8)


def fit(players, **settings):
    return supervised(players, squared, **settings)


def steps(made, state, frozen, count, first=0):
    """`count` jitted steps, each on a batch of its own."""
    step = jax.jit(made.step)
    for i in range(first, first + count):
        batch = {"train": stream(seed=i)}
        state, _ = step(state, frozen, batch, jax.random.fold_in(KEY, i))
    return state


class NumpyAdam:
    """Adam (Kingma and Ba, 2015) with a count and moments a leaf."""

    def __init__(self, lr):
        self.lr, self.memory = lr, {}

    def step(self, path, value, gradient):
        m, v, t = self.memory.get(path, (0.0, 0.0, 0))
        m = ADAM["b1"] * m + (1 - ADAM["b1"]) * gradient
        v = ADAM["b2"] * v + (1 - ADAM["b2"]) * gradient**2
        t += 1
        self.memory[path] = (m, v, t)
        up, low = m / (1 - ADAM["b1"] ** t), v / (1 - ADAM["b2"] ** t)
        return value - self.lr * up / (np.sqrt(low) + ADAM["eps"])


def adam(lr=0.01):
    return optim.adamw(lr, **ADAM, weight_decay=0.0)


def test_a_leaf_opened_late_has_moments_and_a_count_of_its_own():
    """Under a count of 1,000 shared with zero moments it would step 2.5 x too far."""
    first = player(adam(), freeze("body/kernel"))
    one = fit({"model": first})
    state, frozen = one.init(KEY, {"model": first})
    oracle, many = NumpyAdam(0.01), 1000
    values = {
        p: np.asarray(v, np.float64) for p, v in flatten(first.plan.params).items()
    }

    def follow(open_now, i):
        tree = {
            "body": {"kernel": values["body/kernel"], "bias": values["body/bias"]},
            "head": {"kernel": values["head/kernel"]},
        }
        found = numpy_gradients(tree, stream(seed=i))
        for path in open_now:
            values[path] = oracle.step(path, values[path], found[path])

    for i in range(many):
        follow(("body/bias", "head/kernel"), i % 5)
    batches = [{"train": stream(seed=i)} for i in range(5)]
    step = jax.jit(one.step)
    for i in range(many):
        state, _ = step(state, frozen, batches[i % 5], KEY)

    again = current(first, "model", state, frozen)
    plan = chain(rate("body/kernel", 1.0), freeze("body/bias"))(KEY, again.plan)
    second = Player(again.model, plan, adam())
    two = fit({"model": second})
    state, frozen = replan(two, KEY, {"model": second}, state)
    assert int(state.step) == many
    groups = state.opt["model"]
    assert {name: group.paths for name, group in groups.items()} == {
        "0": ("head/kernel",),
        "1": ("body/kernel",),
    }
    counts = {n: int(optax.tree.get(g.state, "count")) for n, g in groups.items()}
    assert counts == {"0": many, "1": 0}
    assert list(flatten(frozen["model"])) == ["body/bias"]

    before = values["body/kernel"].copy()
    for i in range(3):
        follow(("head/kernel", "body/kernel"), i)
        state, _ = jax.jit(two.step)(state, frozen, batches[i], KEY)
        if i == 0:  # the first Adam step has the length of the rate, not 2.5 times it
            moved = np.abs(values["body/kernel"] - before)
            np.testing.assert_allclose(moved, 0.01, rtol=1e-3)
    found = flatten(current(second, "model", state, frozen).plan.params)
    for path, value in values.items():
        np.testing.assert_allclose(found[path], value, atol=2e-4, err_msg=path)
    assert int(state.step) == many + 3


def test_a_leaf_that_closes_and_opens_again_starts_afresh():
    first = player(adam())
    one = fit({"model": first})
    state, frozen = one.init(KEY, {"model": first})
    state = steps(one, state, frozen, 3)
    for change, counts in ((freeze("head/.*"), [3]), (rate("head/.*", 1.0), [3, 0])):
        own = current(first, "model", state, frozen)
        first = own._replace(plan=change(KEY, own.plan))
        state, frozen = replan(fit({"model": first}), KEY, {"model": first}, state)
        groups = state.opt["model"].values()
        assert [int(optax.tree.get(g.state, "count")) for g in groups] == counts
    head = optax.tree.get(list(groups)[1].state, "mu")["head"]["kernel"]
    assert not np.asarray(head).any()


def test_an_average_goes_on_where_leaves_stay_and_starts_where_they_open():
    first = player(optim.sgd(0.1), freeze("body/.*"))
    one = fit({"model": first}, average=0.5)
    state, frozen = one.init(KEY, {"model": first})
    state = steps(one, state, frozen, 2)
    own = current(first, "model", state, frozen)
    second = own._replace(plan=rate("body/.*", 1.0)(KEY, own.plan))
    two = fit({"model": second}, average=0.5)
    new, _ = replan(two, KEY, {"model": second}, state)
    was, now = (flatten(s.memory["average"]["model"]) for s in (state, new))
    np.testing.assert_array_equal(now["head/kernel"], was["head/kernel"])
    np.testing.assert_array_equal(now["body/bias"], own.plan.params["body"]["bias"])


@pytest.mark.parametrize("tx", [optim.sgd(0.1), adam(0.1)], ids=["sgd", "adam"])
def test_rates_scale_each_leaf_s_update(tx):
    whole, scaled = player(tx), player(tx, rate("head/.*", 0.25), rate("body/bias", 0))
    after = {}
    for name, own in (("whole", whole), ("scaled", scaled)):
        made = fit({"model": own})
        state, frozen = made.init(KEY, {"model": own})
        state = steps(made, state, frozen, 1)
        after[name] = flatten(current(own, "model", state, frozen).plan.params)
    start = flatten(whole.plan.params)
    moved = {n: {p: after[n][p] - start[p] for p in start} for n in after}
    for path, factor in (("head/kernel", 0.25), ("body/bias", 0), ("body/kernel", 1)):
        np.testing.assert_allclose(
            moved["scaled"][path], factor * moved["whole"][path], atol=1e-6
        )


def test_one_step_of_sgd_is_the_gradient_by_hand():
    own = player(optim.sgd(0.1))
    made = fit({"model": own})
    state, frozen = made.init(KEY, {"model": own})
    state, metrics = made.step(state, frozen, {"train": stream()}, KEY)
    found = numpy_gradients(own.plan.params, stream())
    start = flatten(own.plan.params)
    for path, leaf in flatten(state.train["model"]).items():
        np.testing.assert_allclose(leaf, start[path] - 0.1 * found[path], atol=1e-5)
    assert set(metrics) == {"loss"}


@pytest.mark.parametrize("norm", [0.1, 1e6])
def test_clipping_over_all_moving_leaves(norm):
    own = player(optim.sgd(1.0), freeze("body/bias"))
    made = fit({"model": own}, clip=norm)
    state, frozen = made.init(KEY, {"model": own})
    state, metrics = made.step(state, frozen, {"train": stream()}, KEY)
    found = numpy_gradients(own.plan.params, stream())
    del found["body/bias"]
    size = np.sqrt(sum((g**2).sum() for g in found.values()))
    np.testing.assert_allclose(metrics["gradient_norm"], size, rtol=1e-5)
    start = flatten(own.plan.params)
    for path, gradient in found.items():
        wanted = start[path] - gradient * min(1, norm / size)
        np.testing.assert_allclose(
            flatten(state.train["model"])[path], wanted, atol=1e-5
        )


def test_clipping_a_gradient_of_zero_gives_zero():
    def f(train, batch, key):
        return 0.0 * train["w"].sum(), ({}, {})

    _, grads = clipped(1.0)(f, {"w": jnp.ones(2)}, {}, KEY)
    np.testing.assert_array_equal(grads["w"], 0)


def test_lbfgs_decreases_a_quadratic_to_its_minimum():
    own = player(optim.lbfgs(), freeze("body/.*"))
    made = fit({"model": own})
    state, frozen = made.init(KEY, {"model": own})
    step, losses, batch = jax.jit(made.step, donate_argnums=0), [], {"train": stream()}
    for _ in range(12):
        state, metrics = step(state, frozen, batch, KEY)
        losses.append(float(metrics["loss"]))
    assert (np.diff(losses) <= 1e-6).all()
    body = own.plan.params["body"]
    hidden = np.asarray(batch["train"]["inputs"]["x"] @ body["kernel"] + body["bias"])
    best, *_ = np.linalg.lstsq(hidden, np.asarray(batch["train"]["labels"]), rcond=None)
    np.testing.assert_allclose(state.train["model"]["head"]["kernel"], best, atol=2e-3)


def test_players_that_share_arrays_can_be_donated():
    """Donating the state deletes neither the pretrained arrays nor the other's."""
    one = player(adam())
    players = {"one": one, "two": one}

    def objective(params_of, memory, batch, key):
        total = 0.0
        for params in params_of.values():
            outputs, _ = one.model.apply(params, {}, batch["train"]["inputs"])
            total += squared(outputs, batch["train"]).mean()
        return total, (memory, {})

    made = algorithm(players, descend(players, objective), None)
    state, frozen = made.init(KEY, players)
    step = jax.jit(made.step, donate_argnums=0)
    for _ in range(2):
        state, _ = step(state, frozen, {"train": stream()}, KEY)
    for leaf in jax.tree.leaves(one.plan.params):
        assert np.isfinite(np.asarray(leaf)).all()
    first, second = (jax.tree.leaves(state.train[name]) for name in players)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["adam", "momentum", "lbfgs"])
def test_donation_after_a_change_of_plan(name):
    made = {"adam": adam(), "momentum": optim.sgd(0.1, 0.9), "lbfgs": optim.lbfgs()}
    tx = made[name]
    own = player(tx, freeze("body/.*"))
    made = fit({"model": own}, average=0.9)
    state, frozen = made.init(KEY, {"model": own})
    batch = {"train": stream()}
    state, _ = jax.jit(made.step, donate_argnums=0)(state, frozen, batch, KEY)
    own = current(own, "model", state, frozen)
    own = own._replace(plan=rate("body/.*", 1.0)(KEY, own.plan))
    made = fit({"model": own}, average=0.9)
    if name == "lbfgs":
        state = state._replace(opt={})  # one line search over all leaves
    state, frozen = replan(made, KEY, {"model": own}, state)
    state, _ = jax.jit(made.step, donate_argnums=0)(state, frozen, batch, KEY)
    assert np.isfinite(np.asarray(own.plan.params["body"]["bias"])).all()


def test_jit_equals_eager():
    own = player(adam(), rate("head/.*", 0.5), of=model(dropout=0.3))
    made = fit({"model": own}, accumulate=2, clip=1.0, average=0.9)
    start, frozen = made.init(KEY, {"model": own})
    batch = {"train": stream()}
    eager, said = made.step(start, frozen, batch, KEY)
    compiled, told = jax.jit(made.step)(start, frozen, batch, KEY)
    for a, b in zip(
        jax.tree.leaves((eager, said)), jax.tree.leaves((compiled, told)), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_vmap_over_seeds_equals_a_loop():
    players = [player(adam(), freeze("body/bias"), seed=seed) for seed in range(3)]
    made = fit({"model": players[0]}, clip=1.0)
    starts = [made.init(KEY, {"model": own}) for own in players]
    states, frozen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    keys, batch = jax.random.split(KEY, 3), {"train": stream()}
    many, _ = jax.vmap(made.step, in_axes=(0, 0, None, 0))(states, frozen, batch, keys)
    for i, (state, own) in enumerate(starts):
        single, _ = made.step(state, own, batch, keys[i])
        row = jax.tree.map(lambda leaf, i=i: leaf[i], many)
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(row), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
