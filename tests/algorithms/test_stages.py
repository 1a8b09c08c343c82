"""Stages: sequences, averages, and steps of some players alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import player, squared, stream

from tl_jax import optim
from tl_jax.algorithms import algorithm, descend, ema, plain, sequence
from tl_jax.transfer import freeze
from tl_jax.tree import flatten
from tl_jax.types import Stage

KEY = jax.random.key(7)


def counted(name):
    """A stage that counts its steps and shows its key."""

    def init(key, train, frozen):
        return {name: jnp.zeros((), jnp.int32)}

    def step(state, frozen, batch, key):
        memory = state.memory | {name: state.memory[name] + 1}
        return state._replace(memory=memory), {name: jax.random.uniform(key)}

    return Stage(init, step)


def test_a_sequence_runs_in_order_with_keys_of_their_own():
    made = algorithm({}, sequence(counted("a"), counted("b")), None)
    state, frozen = made.init(KEY, {})
    state, metrics = made.step(state, frozen, {}, KEY)
    assert (int(state.memory["a"]), int(state.memory["b"]), int(state.step)) == (
        1,
        1,
        1,
    )
    assert metrics["a"] != metrics["b"]


def test_two_stages_cannot_keep_one_name():
    made = algorithm({}, sequence(counted("a"), counted("a")), None)
    with pytest.raises(ValueError, match=r"two stages keep \['a'\]"):
        made.init(KEY, {})


@pytest.mark.parametrize("decay", [0.9, lambda step: step / (step + 1)])
def test_an_average_follows_a_loop(decay):
    own = player(optim.sgd(0.05), freeze("body/.*"))

    def objective(params_of, memory, batch, key):
        outputs, _ = own.model.apply(params_of["model"], {}, batch["train"]["inputs"])
        return squared(outputs, batch["train"]).mean(), (memory, {})

    stages = sequence(descend({"model": own}, objective), ema("model", "mean", decay))
    made = algorithm({"model": own}, stages, None)
    state, frozen = made.init(KEY, {"model": own})
    wanted = np.asarray(state.train["model"]["head"]["kernel"])
    for i in range(5):
        state, _ = made.step(state, frozen, {"train": stream(seed=i)}, KEY)
        kept = decay(i) if callable(decay) else decay
        new = np.asarray(state.train["model"]["head"]["kernel"])
        wanted = kept * wanted + (1 - kept) * new
    found = flatten(state.memory["mean"])
    assert list(found) == ["head/kernel"]
    np.testing.assert_allclose(found["head/kernel"], wanted, atol=1e-6)


def test_descend_moves_only_the_players_it_names():
    players = {"one": player(optim.sgd(0.1)), "two": player(optim.sgd(0.1), seed=3)}

    def objective(params_of, memory, batch, key):
        values = [p["head"]["kernel"].sum() for p in params_of.values()]
        return values[0] * values[1], (memory | {"seen": jnp.int32(1)}, {})

    stages = descend({"one": players["one"]}, objective, plain)
    made = algorithm(players, stages, None)
    state, frozen = made.init(KEY, players)
    new, _ = made.step(state, frozen, {}, KEY)
    kernel = np.asarray(players["one"].plan.params["head"]["kernel"])
    other = float(players["two"].plan.params["head"]["kernel"].sum())
    found = new.train["one"]["head"]["kernel"]
    np.testing.assert_allclose(found, kernel - 0.1 * other, rtol=1e-5)
    for a, b in zip(
        jax.tree.leaves(new.train["two"]),
        jax.tree.leaves(state.train["two"]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert int(new.memory["seen"]) == 1
