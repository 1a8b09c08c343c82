"""Plans that change between steps: grafts that join, and plans that stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import current, replan, supervised
from tl_jax.models import mlp
from tl_jax.optim import adamw
from tl_jax.transfer import chain, freeze, full, lora, rate
from tl_jax.tree import flatten
from tl_jax.types import Player

KEY = jax.random.key(0)


def squared(outputs, stream):
    return jnp.square(outputs.logits - stream["labels"]).sum(-1)


@pytest.fixture(scope="module")
def setting():
    """A small network, its weights, and a batch."""
    model = mlp(3, (4,), classes=2, activation="tanh")
    params, _ = model.init(jax.random.key(1))
    rng = np.random.default_rng(2)
    inputs = {"features": jnp.asarray(rng.standard_normal((6, 3)), jnp.float32)}
    labels = jnp.asarray(rng.standard_normal((6, 2)), jnp.float32)
    batch = {"train": {"inputs": inputs, "labels": labels, "weight": jnp.ones(6)}}

    return model, params, batch


def start(setting, transfer):
    model, params, _ = setting
    plan = transfer(KEY, full(params))
    players = {"model": Player(model, plan, adamw(1e-2))}
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


HEAD = chain(freeze(".*"), rate("head/.*", 1.0))


def test_grafts_of_a_later_phase_join_and_memory_is_carried(setting):
    _, _, batch = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 5)
    average = state.memory["average"]["model"]["head"]["kernel"]
    more = lora(1, "blocks/0")
    algorithm, players, state, frozen = go_on(setting, players, state, frozen, more)
    carried = state.memory["average"]["model"]["head"]["kernel"]
    np.testing.assert_array_equal(carried, average)
    added = {"blocks/0/patch/lora/a", "blocks/0/patch/lora/b"}
    assert set(state.opt["model"]["1"].paths) == added
    end = steps(algorithm, state, frozen, batch, 2)
    # b starts at zero and moves with the first step, a with the second.
    for path in added:
        was = flatten(state.train["model"])[path]
        assert np.any(np.asarray(flatten(end.train["model"])[path]) != was)


def test_a_plan_that_stays_changes_nothing(setting):
    _, _, batch = setting
    algorithm, players, state, frozen = start(setting, HEAD)
    state = steps(algorithm, state, frozen, batch, 3)
    kept = jax.tree.map(np.asarray, state)
    again, _, after, frozen = go_on(setting, players, state, frozen, chain())
    jax.tree.map(np.testing.assert_array_equal, kept, after)
    straight = steps(algorithm, state, frozen, batch, 2)
    phased = steps(again, after, frozen, batch, 2)
    jax.tree.map(np.testing.assert_array_equal, straight, phased)
