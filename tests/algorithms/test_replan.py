"""Plans that change between steps: who keeps an optimiser's state and who starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import current, replan, supervised
from tl_jax.models import mlp
from tl_jax.optim import adamw
from tl_jax.transfer import chain, freeze, full, lora, rate
from tl_jax.tree import flatten, paths
from tl_jax.types import Player

RATE, B1, B2, EPS = 1e-2, 0.9, 0.999, 1e-8
KEY = jax.random.key(0)


def squared(outputs, stream):
    return jnp.square(outputs.logits - stream["labels"]).sum(-1)


@pytest.fixture(scope="module")
def setting():
    """A small network, a batch, and the gradient of the objective at any weights."""
    model = mlp(3, (4,), classes=2, activation="tanh")
    params, _ = model.init(jax.random.key(1))
    rng = np.random.default_rng(2)
    inputs = {"features": jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)}
    labels = jnp.asarray(rng.standard_normal((6, 2)), jnp.float32)
    batch = {"train": {"inputs": inputs, "labels": labels, "weight": jnp.ones(6)}}

    def loss(params):
        outputs, _ = model.apply(params, {}, inputs)
        return squared(outputs, batch["train"]).mean()

    return model, params, batch, jax.jit(jax.grad(loss))


def start(setting, transfer):
    model, params, _, _ = setting
    plan = transfer(KEY, full(params))
    players = {"model": Player(model, plan, adamw(RATE, weight_decay=0.0))}
    algorithm = supervised(players, squared, average=0.9)
    return algorithm, players, *algorithm.init(KEY, players)


def go_on(setting, players, state, frozen, transfer):
    player = current(players["model"], "model", state, frozen)
    plan = transfer(KEY, player.plan)
    players = {"model": player._replace(plan=plan)}
    algorithm = supervised(players, squared, average=0.9)
    return algorithm, players, *replan(algorithm, KEY, players, state)


def steps(algorithm, state, frozen, batch, count):
    step = jax.jit(algorithm.step)
    for _ in range(count):
        state, _ = step(state, frozen, batch, KEY)
    return state


class Adam:
    """One leaf's moments and count, by hand."""

    def __init__(self):
        self.m = self.v = self.count = 0

    def __call__(self, value, grad):
        self.count += 1
        self.m = B1 * self.m + (1 - B1) * grad
        self.v = B2 * self.v + (1 - B2) * grad**2
        m, v = self.m / (1 - B1**self.count), self.v / (1 - B2**self.count)
        return value - RATE * m / (np.sqrt(v) + EPS)


HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
BODY = rate("blocks/.*", 1.0)


def test_opened_leaves_get_moments_of_their_own(setting):
    _, params, batch, grad = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 50)
    algorithm, players, state, frozen = go_on(setting, players, state, frozen, BODY)
    assert int(state.step) == 50
    assert {g: set(x.paths) for g, x in state.opt["model"].items()} == {
        "0": {"head/kernel", "head/bias"},
        "1": {"blocks/0/kernel", "blocks/0/bias"},
    }
    state = steps(algorithm, state, frozen, batch, 3)

    values = {path: np.asarray(leaf) for path, leaf in flatten(params).items()}
    adams = {path: Adam() for path in values}
    for i in range(53):
        nested = jax.tree.map(lambda x: x, params)
        for path, value in values.items():
            *parents, name = path.split("/")
            node = nested
            for parent in parents:
                node = node[parent]
            node[name] = jnp.asarray(value)
        grads = flatten(grad(nested))
        for path in values:
            if i >= 50 or path.startswith("head"):
                values[path] = adams[path](values[path], np.asarray(grads[path]))
    for path, leaf in flatten(state.train["model"]).items():
        np.testing.assert_allclose(leaf, values[path], rtol=2e-4, atol=1e-6)
    # A shared count of 50 would have stepped further with moments from zero.
    moved = np.abs(values["blocks/0/kernel"] - params["blocks"]["0"]["kernel"]).max()
    assert moved < 3.5 * RATE


def test_leaves_that_stay_keep_their_state(setting):
    _, _, batch, _ = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 5)
    before = flatten(state.opt["model"]["0"])
    _, _, after, _ = go_on(setting, players, state, frozen, BODY)
    kept = flatten(after.opt["model"]["0"])
    assert kept.keys() == before.keys()
    for path, leaf in before.items():
        np.testing.assert_array_equal(kept[path], leaf)


def test_closed_leaves_lose_theirs_and_reopened_ones_start_anew(setting):
    _, _, batch, _ = setting
    algorithm, players, state, frozen = start(setting, chain())
    state = steps(algorithm, state, frozen, batch, 4)
    value = state.train["model"]["blocks"]["0"]["kernel"]
    close = freeze("blocks/.*")
    algorithm, players, state, frozen = go_on(setting, players, state, frozen, close)
    assert set(state.opt["model"]["0"].paths) == {"head/kernel", "head/bias"}
    assert not [path for path in paths(state.opt) if "blocks" in path]
    np.testing.assert_array_equal(frozen["model"]["blocks"]["0"]["kernel"], value)
    state = steps(algorithm, state, frozen, batch, 2)
    algorithm, players, state, frozen = go_on(setting, players, state, frozen, BODY)
    fresh = flatten(state.opt["model"]["1"])
    assert all(not np.any(leaf) for leaf in fresh.values())


def test_grafts_of_a_later_phase_join_and_memory_is_carried(setting):
    _, _, batch, _ = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 5)
    average = state.memory["average"]["head"]["kernel"]
    more = lora(1, "blocks/0")
    algorithm, players, state, frozen = go_on(setting, players, state, frozen, more)
    np.testing.assert_array_equal(state.memory["average"]["head"]["kernel"], average)
    added = {"blocks/0/patch/lora/a", "blocks/0/patch/lora/b"}
    assert set(state.opt["model"]["1"].paths) == added
    end = steps(algorithm, state, frozen, batch, 2)
    # b starts at zero and moves with the first step, a with the second.
    for path in added:
        was = flatten(state.train["model"])[path]
        assert np.any(np.asarray(flatten(end.train["model"])[path]) != was)


def test_a_plan_that_stays_changes_nothing(setting):
    _, _, batch, _ = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 3)
    kept = jax.tree.map(np.asarray, state)
    again, _, after, frozen = go_on(setting, players, state, frozen, chain())
    jax.tree.map(np.testing.assert_array_equal, kept, after)
    straight = steps(algorithm, state, frozen, batch, 2)
    phased = steps(again, after, frozen, batch, 2)
    jax.tree.map(np.testing.assert_array_equal, straight, phased)
