"""The oracle: a network whose further inputs are the task's own parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import network, player, squared, task, waves

from tl_jax.algorithms.meta import Inner, episodic, inner_rates, maml, oracle
from tl_jax.transfer import context
from tl_jax.tree import flatten, merge


def told_waves():
    """Tasks with two numbers each, the same in every row."""
    batch, rng = waves(), np.random.default_rng(1)
    told = rng.normal(size=(3, 1, 2)).astype(np.float32)
    for side in batch.values():
        rows = side["labels"].shape[1]
        side["inputs"]["told"] = np.broadcast_to(told, (3, rows, 2)).copy()
    return batch


def made(size=2, where="blocks/0", **how):
    one = player(network(), optax.sgd(1.0), context(size, where))
    built = episodic({"model": one}, oracle(network(), **how), squared)
    return built, *built.init(jax.random.key(0), {"model": one})


def joint(params, inputs):
    """The network on [x told], its first kernel on top of u, in NumPy."""
    first, second = params["blocks"]["0"], params["blocks"]["1"]
    own = first["patch"]["context"]
    x = np.concatenate([inputs["features"], inputs["told"]], -1)
    kernel = np.concatenate([first["kernel"], own.u])
    x = np.tanh(x @ kernel + first["bias"])
    x = np.tanh(x @ second["kernel"] + second["bias"])
    return x @ params["head"]["kernel"] + params["head"]["bias"]


def test_it_is_a_network_with_further_inputs():
    built, state, frozen = made()
    batch = told_waves()
    found = jax.jit(built.predict)(state, frozen, batch).logits
    params = merge(state.train["model"], frozen["model"])
    for k in range(3):
        wanted = joint(params, task(batch["query"], k)["inputs"])
        np.testing.assert_allclose(found[k], wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(params["blocks"]["0"]["patch"]["context"].context).max() == 0


def test_it_learns_as_that_network_does():
    """The meta-gradient is that of plain training on the queries."""
    built, state, frozen = made()
    batch = told_waves()
    after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))

    def cost(train):
        params, query = merge(train, frozen["model"]), batch["query"]
        first, second = params["blocks"]["0"], params["blocks"]["1"]
        u = first["patch"]["context"].u
        x = query["inputs"]["features"] @ first["kernel"]
        x = jnp.tanh(x + query["inputs"]["told"] @ u + first["bias"])
        x = jnp.tanh(x @ second["kernel"] + second["bias"])
        y = x @ params["head"]["kernel"] + params["head"]["bias"]
        return jnp.square(y - query["labels"]).mean()

    wanted = jax.grad(cost)(state.train["model"])
    for path, start in flatten(state.train["model"]).items():
        moved = start - flatten(after.train["model"])[path]
        np.testing.assert_allclose(moved, flatten(wanted)[path], rtol=1e-3, atol=1e-5)
        assert np.abs(moved).max() > 0
    assert list(flatten(after.train["model"])) == list(flatten(state.train["model"]))
    assert not any("context/context" in path for path in flatten(after.train["model"]))


def test_no_other_learner_is_told():
    one = player(network(), optax.sgd(1.0), context(2, "blocks/0"))
    learner = maml(network(), squared, Inner(inner_rates(one.plan), optax.sgd(0.1)))
    built = episodic({"model": one}, learner, squared)
    state, frozen = built.init(jax.random.key(0), {"model": one})
    batch = told_waves()
    predict = jax.jit(built.predict)  # the same program twice has the same bits
    found = predict(state, frozen, batch).logits
    for side in batch.values():
        side["inputs"]["told"] = side["inputs"]["told"] + 1
    np.testing.assert_array_equal(predict(state, frozen, batch).logits, found)


def test_mistakes_are_named():
    batch = told_waves()
    built, state, frozen = made(told="toled")
    with pytest.raises(ValueError, match="oracle's input 'toled'.*nearest: told"):
        built.predict(state, frozen, batch)
    built, state, frozen = made(size=3)
    with pytest.raises(ValueError, match="has 3 numbers, but a task is told 2"):
        built.predict(state, frozen, batch)
    built, state, frozen = made(patch="other")
    with pytest.raises(ValueError, match="no parameter is 'patch/other/context'"):
        built.predict(state, frozen, batch)
