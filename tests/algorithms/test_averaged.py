"""Averages of all players, whatever the algorithm is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import AVERAGE, averaged
from tl_jax.types import Algorithm, Outputs, State

KEY = jax.random.key(0)


def walking():
    """Two players: one moves by the batch, the other by its double."""

    def init(key, players):
        train = {"a": {"x": jnp.ones(2), "hole": None}, "b": {"y": jnp.zeros(())}}
        return State(jnp.zeros((), jnp.int32), train, {}, {"stats": {}}), {}

    def step(state, frozen, batch, key):
        a, b = state.train["a"], state.train["b"]
        train = {"a": a | {"x": a["x"] + batch}, "b": {"y": b["y"] + 2 * batch}}
        return state._replace(step=state.step + 1, train=train), {"loss": batch}

    def predict(state, frozen, batch):
        return Outputs(state.train["a"]["x"] * batch, state.train["b"]["y"])

    return Algorithm(init, step, predict)


@pytest.mark.parametrize("decay", [0.75, lambda step: step / (step + 1)])
def test_predictions_use_the_averages_of_all_players(decay):
    made = averaged(walking(), decay)
    state, frozen = made.init(KEY, {})
    x, y, want_x, want_y = 1.0, 0.0, 1.0, 0.0
    for t, batch in enumerate((1.0, 3.0, -2.0)):
        state, metrics = made.step(state, frozen, batch, KEY)
        assert metrics == {"loss": batch}
        x, y = x + batch, y + 2 * batch
        kept = decay(t) if callable(decay) else decay
        want_x, want_y = kept * want_x + (1 - kept) * x, kept * want_y + (1 - kept) * y
    np.testing.assert_array_equal(state.train["a"]["x"], [x, x])
    found = made.predict(state, frozen, 10.0)
    np.testing.assert_allclose(found.features, [10 * want_x] * 2, rtol=1e-6)
    np.testing.assert_allclose(found.logits, want_y, rtol=1e-6)
    assert state.memory[AVERAGE]["a"]["hole"] is None
