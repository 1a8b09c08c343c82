"""Batch norm in episodes: whose statistics are used, and what moves them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import blobs, player

from tl_jax.algorithms.meta import Inner, episodic, maml
from tl_jax.losses import cross_entropy
from tl_jax.models.mlp import mlp


@pytest.mark.parametrize("norm", ["transductive", "support", "running"])
def test_whose_statistics_are_used(norm):
    """Only "transductive" lets a query see the others; only "running" moves any."""
    model = mlp(5, (6,), classes=3, batch_norms=True)
    one = player(model, optax.sgd(0.1))
    inner = Inner(one.plan.rates, optax.sgd(0.1), 2)

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    made = episodic({"model": one}, maml(model, loss, inner, norm=norm), loss)
    state, frozen = made.init(jax.random.key(0), {"model": one})
    batch = blobs()
    other = {**batch, "query": jax.tree.map(lambda x: x.copy(), batch["query"])}
    other["query"]["inputs"]["features"][:, 1:] += 3.0
    predict = jax.jit(made.predict)
    first, second = (predict(state, frozen, b).logits[:, 0] for b in (batch, other))
    assert np.allclose(first, second, atol=1e-6) == (norm != "transductive")
    after, metrics = jax.jit(made.step)(state, frozen, batch, jax.random.key(1))
    before, now = state.memory["stats"], after.memory["stats"]
    same = all(map(np.array_equal, *map(jax.tree.leaves, (before, now))))
    assert same == (norm != "running")
    assert np.isfinite(metrics["loss"])


def test_support_statistics_are_differentiated_through():
    """The meta-gradient under "support" is that of finite differences."""
    with jax.enable_x64(True):
        how = dict(batch_norms=True, activation="tanh", dtype=jnp.float64)
        model = mlp(5, (6,), classes=3, **how)
        one = player(model, optax.sgd(1.0))
        inner = Inner(one.plan.rates, optax.sgd(0.1), 1)

        def loss(outputs, stream):
            logits, labels = outputs.logits, stream["labels"]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

        made = episodic({"model": one}, maml(model, loss, inner, norm="support"), loss)
        state, frozen = made.init(jax.random.key(0), {"model": one})
        batch, key = blobs(), jax.random.key(1)
        step = jax.jit(made.step)
        after, _ = step(state, frozen, batch, key)
        old, new = state.train["model"], after.train["model"]
        gradient = (old["blocks"]["0"]["kernel"] - new["blocks"]["0"]["kernel"])[0, 0]
        ends = []
        for side in (1e-5, -1e-5):
            kernel = old["blocks"]["0"]["kernel"].at[0, 0].add(side)
            blocks = {"0": old["blocks"]["0"] | {"kernel": kernel}}
            moved = state._replace(train={"model": old | {"blocks": blocks}})
            ends.append(step(moved, frozen, batch, key)[1]["loss"])
        np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
