"""Weights of an estimator in a supervised loss: by `weigh`, and by the input column."""

import jax
import numpy as np
import optax

from tl_jax.algorithms import supervised
from tl_jax.algorithms.adaptation import adapted
from tl_jax.data import shift_toy
from tl_jax.estimators.weighting import ulsif
from tl_jax.models import frozen_features
from tl_jax.transfer import full, new_head
from tl_jax.types import Player


def squares(outputs, stream):
    return (outputs.logits[:, 0] - stream["labels"]) ** 2


def run(made, players, batch, steps=400):
    state, frozen = made.init(jax.random.key(0), players)
    step = jax.jit(made.step)
    for _ in range(steps):
        state, _ = step(state, frozen, batch, jax.random.key(1))
    head = state.train["model"]["head"]
    return float(head["bias"][0]), float(head["kernel"][0, 0])


def test_both_end_at_the_weighted_line():
    rng = np.random.default_rng(0)
    x, y = shift_toy.draw("train", 100, rng)
    target, _ = shift_toy.draw("test", 100, rng)
    values = ulsif(x, target, sigmas=(0.2,)).values.astype(np.float32)
    model = frozen_features(1)
    plan = new_head(1, 1)(jax.random.key(0), full({}, {}))
    players = {"model": Player(model, plan, optax.sgd(0.5))}
    stream = {
        "inputs": {"features": x.astype(np.float32), "importance": values},
        "labels": y.astype(np.float32),
        "weight": np.ones(100, np.float32),
        "index": np.arange(100),
    }

    def weigh(stream):
        return stream["weight"] * stream["inputs"]["importance"]

    design = np.stack([np.ones(100), x[:, 0]], 1)
    want = np.linalg.solve(
        design.T @ (design * values[:, None]), design.T @ (y * values)
    )
    by_weigh = supervised(players, squares, weigh=weigh)
    got = run(by_weigh, players, {"train": stream})
    np.testing.assert_allclose(got, want, atol=1e-3)
    by_column = adapted(players, squares, steps=1)
    got = run(by_column, players, {"source": stream})
    np.testing.assert_allclose(got, want, atol=1e-3)
    plain = run(supervised(players, squares), players, {"train": stream})
    assert abs(plain[1] - want[1]) > 0.3
