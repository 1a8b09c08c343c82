"""Heads made of the support set: ProtoMAML and the fine-tuning baseline."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import blobs, player, task

from tl_jax.algorithms.meta import (
    Inner,
    episodic,
    fine_tune,
    inner_rates,
    proto_maml,
)
from tl_jax.losses import cross_entropy
from tl_jax.models.mlp import mlp
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten, merge

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
EVERY = rate(".*", 1.0)
MODEL = mlp(5, (6,), classes=3, activation="tanh")


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def made(learner, steps, plan, model=MODEL, **how):
    """(algorithm, state, frozen); the head frozen outside, moved inside by `plan`."""
    one = player(model, optax.sgd(1.0), freeze("head/.*"))
    inner = Inner(inner_rates(one.plan, plan), optax.sgd(0.1), steps)
    built = episodic({"model": one}, learner(model, loss, inner, **how), loss)
    return built, *built.init(jax.random.key(0), {"model": one})


def features(params, stream):
    return np.asarray(MODEL.apply(params, {}, stream["inputs"])[0].features)


def test_without_steps_it_is_a_prototypical_network():
    """Probabilities are those of softmax(-|x - c_k|^2), by a NumPy loop."""
    built, state, frozen = made(proto_maml, 0, EVERY)
    batch = blobs()
    found = jax.nn.softmax(jax.jit(built.predict)(state, frozen, batch).logits)
    params = merge(state.train["model"], frozen["model"])
    for k in range(2):
        support, query = task(batch["support"], k), task(batch["query"], k)
        seen, asked = features(params, support), features(params, query)
        means = [seen[support["labels"] == c].mean(0) for c in range(3)]
        away = np.stack([np.square(asked - m).sum(1) for m in means], 1)
        wanted = np.exp(-away) / np.exp(-away).sum(1, keepdims=True)
        np.testing.assert_allclose(found[k], wanted, rtol=2e-4, atol=1e-6)


def by_hand(train, frozen, batch, steps):
    """ProtoMAML's meta-loss in loops, with the head's start inside."""

    def cost(params, stream):
        outputs, _ = MODEL.apply(params, {}, stream["inputs"])
        return loss(outputs, stream).mean()

    total = 0.0
    for k in range(2):
        support, query = task(batch["support"], k), task(batch["query"], k)
        own = merge(train, frozen)
        seen = MODEL.apply(own, {}, support["inputs"])[0].features
        means = jnp.stack([seen[support["labels"] == c].mean(0) for c in range(3)])
        own["head"] = {"kernel": 2 * means.T, "bias": -jnp.square(means).sum(1)}
        for _ in range(steps):
            slope = jax.grad(cost)(own, support)
            own = jax.tree.map(lambda p, g: p - 0.1 * g, own, slope)
        total += cost(own, query) / 2
    return total


def test_the_gradient_goes_through_the_start_of_the_head():
    built, state, frozen = made(proto_maml, 2, EVERY)
    batch = blobs()
    after, _ = jax.jit(built.step)(state, frozen, batch, jax.random.key(1))
    start = state.train["model"]
    assert set(flatten(start)) == {"blocks/0/kernel", "blocks/0/bias"}
    found = jax.tree.map(lambda a, b: a - b, start, after.train["model"])
    wanted = jax.grad(by_hand)(start, frozen["model"], batch, 2)
    chex.assert_trees_all_close(found, wanted, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("fresh", ["zero", "prototypes"])
def test_nothing_of_the_old_head_is_left(fresh):
    built, state, frozen = made(fine_tune, 3, HEAD, fresh=fresh)
    batch, predict = blobs(), jax.jit(built.predict)
    head = jax.tree.map(lambda x: x + 5.0, frozen["model"]["head"])
    other = {"model": frozen["model"] | {"head": head}}
    first, second = (predict(state, f, batch).logits for f in (frozen, other))
    np.testing.assert_array_equal(first, second)


def test_fine_tuning_a_zero_head_is_logistic_regression():
    """By a NumPy loop of gradient descent on frozen features."""
    built, state, frozen = made(fine_tune, 5, HEAD)
    batch = blobs()
    found = built.predict(state, frozen, batch).logits
    params = merge(state.train["model"], frozen["model"])
    for k in range(2):
        support, query = task(batch["support"], k), task(batch["query"], k)
        x, target = features(params, support), np.eye(3)[support["labels"]]
        w, b = np.zeros((6, 3)), np.zeros(3)
        for _ in range(5):
            p = np.exp(x @ w + b)
            slope = (p / p.sum(1, keepdims=True) - target) / len(x)
            w, b = w - 0.1 * x.T @ slope, b - 0.1 * slope.sum(0)
        wanted = features(params, query) @ w + b
        np.testing.assert_allclose(found[k], wanted, rtol=1e-4, atol=1e-5)


def test_the_body_moves_if_the_inner_plan_says_so():
    ends = [
        built.predict(state, frozen, blobs()).logits
        for built, state, frozen in (made(fine_tune, 5, p) for p in (HEAD, EVERY))
    ]
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


@pytest.mark.parametrize("learner", [proto_maml, fine_tune])
def test_padding_and_absent_classes(learner):
    """Rows of weight 0 change nothing, and a class without a row can't be predicted."""
    built, state, frozen = made(learner, 2, EVERY)
    batch, predict = blobs(), jax.jit(built.predict)
    support = batch["support"]
    part = {**batch, "support": jax.tree.map(lambda x: x.copy(), support)}
    part["support"]["weight"] *= support["labels"] != 2
    wild = {**part, "support": jax.tree.map(lambda x: x.copy(), part["support"])}
    wild["support"]["inputs"]["features"][support["labels"] == 2] = 77.0
    first, second = (predict(state, frozen, b).logits for b in (part, wild))
    np.testing.assert_array_equal(first, second)
    assert (first[..., 2] < -1e8).all()
    assert np.abs(first[..., :2]).max() < 1e3
    whole = predict(state, frozen, batch).logits
    alone = jax.tree.map(lambda x: x[1:], batch)
    one = built.predict(state, frozen, alone).logits
    np.testing.assert_allclose(whole[1:], one, rtol=1e-4, atol=1e-5)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"fresh.*'zeros'.*zero"):
        made(fine_tune, 1, HEAD, fresh="zeros")
    built, *rest = made(proto_maml, 1, HEAD, where="haed")
    with pytest.raises(ValueError, match=r"'haed.*nearest: head"):
        built.predict(*rest, blobs())
    built, *rest = made(proto_maml, 1, rate("blocks/.*", 1.0), where="blocks/0")
    with pytest.raises(ValueError, match=r"shape \(5, 6\), but features are 6 wide"):
        built.predict(*rest, blobs())
