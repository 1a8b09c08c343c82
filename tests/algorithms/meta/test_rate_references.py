"""Meta-SGD against learn2learn's, Reptile against torch's, on recorded episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import squared
from recorded import episodes, everything, params, under

from tl_jax.algorithms.meta import Inner, maml, meta_sgd, query_loss, reptile
from tl_jax.algorithms.meta.episodic import STEPS
from tl_jax.models import mlp
from tl_jax.transfer import full
from tl_jax.tree import flatten
from tl_jax.types import Player


def agree(found, at: str) -> None:
    """To 1e-9 of a leaf's largest entry, or of a tenth of the largest of all."""
    found, wanted = flatten(found), under(at)
    assert found.keys() == wanted.keys()
    floor = 0.1 * max(np.abs(expected).max() for expected in wanted.values())
    for path, expected in wanted.items():
        error = np.abs(np.asarray(found[path]) - expected).max()
        assert error < 1e-9 * max(np.abs(expected).max(), floor), path


def network(activation):
    return mlp(1, (12, 12), classes=1, activation=activation, dtype=jnp.float64)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("steps", [1, 5])
def test_meta_sgd(steps, activation):
    """The gradients of weights and of rates, an element each, in float64."""
    with jax.enable_x64(True):
        train = {name: params(f"mlp/{name}", "f8") for name in ("weights", "rates")}
        train["model"] = train.pop("weights")
        rates = jax.tree.map(lambda _: 1.0, train["model"])
        inner = Inner(rates, meta_sgd(), steps)
        learner = maml(network(activation), squared, inner)
        objective = query_loss(learner, squared)
        memory = {"stats": {"model": {}}, STEPS: 0}

        def value(train, batch):
            return objective(train, memory, batch, jax.random.key(0))[0]

        batch = episodes("mlp", "features", "f8")
        found, gradient = jax.jit(jax.value_and_grad(value))(train, batch)
    at = f"mlp/{activation}/meta_sgd_{steps}"
    np.testing.assert_allclose(found, everything()[f"{at}/loss"], rtol=1e-9)
    agree(gradient["model"], f"{at}/grad")
    agree(gradient["rates"], f"{at}/grad_rates")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_reptile(activation):
    """Weights after one update of five inner steps, half way, in float64."""
    with jax.enable_x64(True):
        plan = full(params("mlp/weights", "f8"))
        players = {"model": Player(network(activation), plan, optax.sgd(0.5))}
        inner = Inner(plan.rates, optax.sgd(0.05), 5)
        built = reptile(players, squared, inner)
        state, frozen = built.init(jax.random.key(0), players)
        batch = episodes("mlp", "features", "f8")
        after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    agree(after.train["model"], f"mlp/{activation}/reptile_5/weights")
