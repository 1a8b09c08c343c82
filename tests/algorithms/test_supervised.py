"""Supervised steps against arithmetic: weights, microbatches, clipping, averages."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms import accumulated, clipped, plain, supervised
from tl_jax.models import mlp
from tl_jax.optim import lbfgs, sgd
from tl_jax.transfer import chain, freeze, full, rate
from tl_jax.tree import flatten
from tl_jax.types import Player

KEY = jax.random.key(0)


def squared(outputs, stream):
    return jnp.square(outputs.logits - stream["labels"]).sum(-1)


@pytest.fixture(scope="module")
def model():
    return mlp(3, (4,), classes=2, activation="tanh")


@pytest.fixture(scope="module")
def params(model):
    return model.init(jax.random.key(1))[0]


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(2)
    inputs = {"features": jnp.asarray(rng.standard_normal((8, 3)), jnp.float32)}
    labels = jnp.asarray(rng.standard_normal((8, 2)), jnp.float32)
    weight = jnp.asarray([1, 1, 0, 0, 0, 2, 0.5, 0], jnp.float32)
    return {"train": {"inputs": inputs, "labels": labels, "weight": weight}}


@pytest.fixture(scope="module")
def gradient(model, batch):
    """The gradient of sum w loss / sum w, by differences of nothing but the loss."""

    def loss(params):
        stream = batch["train"]
        outputs, _ = model.apply(params, {}, stream["inputs"])
        weight = stream["weight"]
        return (weight * squared(outputs, stream)).sum() / weight.sum()

    return jax.jit(jax.grad(loss))


def make(model, params, tx, transfer=chain(), **options):  # noqa: B008 - a constant
    plan = transfer(KEY, full(params))
    players = {"model": Player(model, plan, tx)}
    algorithm = supervised(players, squared, **options)
    return algorithm, *algorithm.init(KEY, players)


def close(tree, wanted, **tolerance):
    tree, wanted = flatten(tree), flatten(wanted)
    assert tree.keys() == wanted.keys()
    for path, leaf in tree.items():
        np.testing.assert_allclose(leaf, wanted[path], err_msg=path, **tolerance)


def test_a_step_is_params_minus_rate_times_gradient(model, params, batch, gradient):
    rates = chain(rate("head/.*", 0.5), freeze("blocks/0/bias"))
    algorithm, state, frozen = make(model, params, sgd(0.1), rates)
    new, metrics = algorithm.step(state, frozen, batch, KEY)
    grads, values = flatten(gradient(params)), flatten(params)
    assert "blocks/0/bias" not in flatten(new.train)
    wanted = {
        "blocks/0/kernel": values["blocks/0/kernel"] - 0.1 * grads["blocks/0/kernel"],
        "head/kernel": values["head/kernel"] - 0.05 * grads["head/kernel"],
        "head/bias": values["head/bias"] - 0.05 * grads["head/bias"],
    }
    close(new.train["model"], wanted, rtol=1e-6)
    assert int(new.step) == 1
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_microbatches_give_the_whole_gradient(parts, model, params, batch, gradient):
    """With uneven weights and microbatches that are all padding, too."""
    algorithm, state, frozen = make(model, params, sgd(1.0), accumulate=parts)
    new, metrics = jax.jit(algorithm.step)(state, frozen, batch, KEY)
    whole, _, _ = make(model, params, sgd(1.0))
    _, alone = whole.step(state, frozen, batch, KEY)
    wanted = jax.tree.map(lambda p, g: p - g, params, gradient(params))
    close(new.train["model"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["loss"], alone["loss"], rtol=1e-6)


def test_rows_that_do_not_divide_raise(model, params, batch):
    algorithm, state, frozen = make(model, params, sgd(1.0), accumulate=3)
    with pytest.raises(ValueError, match="8 rows do not divide into 3"):
        algorithm.step(state, frozen, batch, KEY)


def test_clipping_scales_the_whole_gradient(model, params, batch, gradient):
    grads = gradient(params)
    size = sum(float((g**2).sum()) for g in jax.tree.leaves(grads)) ** 0.5
    for bound, factor in ((size / 4, 0.25), (2 * size, 1.0)):
        algorithm, state, frozen = make(model, params, sgd(1.0), clip=bound)
        new, metrics = algorithm.step(state, frozen, batch, KEY)
        wanted = jax.tree.map(lambda p, g, f=factor: p - f * g, params, grads)
        close(new.train["model"], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(metrics["gradient_norm"], size, rtol=1e-6)


def test_rules_nest(model, params, batch):
    def f(train, batch, key):
        value = (train["x"] * batch["train"]["weight"]).sum()
        return value, ({}, {"loss": value})

    rule = clipped(1.0, accumulated(2, lambda b: b["train"]["weight"].sum(), plain))
    stream = {"train": {"weight": jnp.asarray([1.0, 2.0, 3.0, 6.0])}}
    (_, (_, metrics)), grads = rule(f, {"x": jnp.float32(2.0)}, stream, KEY)
    # Parts [1 3] and [2 6] of weights 4 and 8: gradients 4 and 8, shares 1/3 and 2/3.
    np.testing.assert_allclose(metrics["gradient_norm"], 20 / 3, rtol=1e-6)
    np.testing.assert_allclose(grads["x"], 1.0, rtol=1e-6)


def test_predict_uses_the_average_of_the_moving_weights(model, params, batch):
    algorithm, state, frozen = make(model, params, sgd(0.1), average=0.75)
    seen = [state.train["model"]["head"]["bias"]]
    average = seen[0]
    for _ in range(3):
        state, _ = algorithm.step(state, frozen, batch, KEY)
        average = 0.75 * average + 0.25 * state.train["model"]["head"]["bias"]
    np.testing.assert_allclose(
        state.memory["average"]["model"]["head"]["bias"], average, rtol=1e-6
    )
    query = {"query": {"inputs": batch["train"]["inputs"]}}
    got = algorithm.predict(state, frozen, query).logits
    own = state.memory["average"]["model"]
    outputs, _ = model.apply(own, {}, query["query"]["inputs"])
    np.testing.assert_allclose(got, outputs.logits, rtol=1e-6)


def test_line_searches_get_the_value_function(model, params, batch):
    algorithm, state, frozen = make(model, params, lbfgs())
    step, losses = jax.jit(algorithm.step), []
    for _ in range(12):
        state, metrics = step(state, frozen, batch, KEY)
        losses.append(float(metrics["loss"]))
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[-1] < 0.05 * losses[0]


def test_batch_norm_moves_only_where_it_is_not_frozen(batch):
    model = mlp(3, (4, 4), classes=2, batch_norms=True)
    params, stats = model.init(jax.random.key(1))
    plan = freeze("blocks/0/.*")(KEY, full(params, stats))
    players = {"model": Player(model, plan, sgd(0.1))}
    algorithm = supervised(players, squared)
    state, frozen = algorithm.init(KEY, players)
    new, _ = jax.jit(algorithm.step)(state, frozen, batch, KEY)
    before, after = state.memory["stats"]["model"], new.memory["stats"]["model"]
    still, moved = (f"blocks/{i}/norm" for i in (0, 1))
    np.testing.assert_array_equal(after[still].mean, before[still].mean)
    assert np.abs(after[moved].mean - before[moved].mean).max() > 0
    assert type(after[still]).__name__ == "Fixed"
