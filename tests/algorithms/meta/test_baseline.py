"""A last layer that is fine-tuned on the support set."""

import jax
import numpy as np
import optax
import pytest
from few import player
from given import identity, scored
from headed import crossed

from tl_jax.algorithms.meta import Inner, baseline
from tl_jax.models import readout

LABELS = np.array([0, 1, 0, 1, 1])


def probabilities(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.normal(size=(4, 3))


def test_the_linear_head_takes_the_steps_of_a_loop():
    x, query = drawn()
    head = player(readout(3, 2), None)
    inner = Inner(head.plan.rates, optax.sgd(0.3), 4)
    learner = baseline(identity(3), 2, head.model, crossed, inner)
    found = scored(learner, x, LABELS, query, None, {"readout": head.plan.params})
    kernel, bias = (np.asarray(head.plan.params[n]) for n in ("kernel", "bias"))
    for _ in range(4):
        off = (probabilities(x @ kernel + bias) - np.eye(2)[LABELS]) / 5
        kernel, bias = kernel - 0.3 * x.T @ off, bias - 0.3 * off.sum(0)
    np.testing.assert_allclose(found, query @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_the_cosine_head_is_of_directions_and_learns():
    x, _ = drawn()
    head = player(readout(3, 2, kind="cosine", scale=4.0), None)
    params = {"readout": head.plan.params}
    ends = []
    for steps in (0, 50):
        inner = Inner(head.plan.rates, optax.sgd(0.3), steps)
        learner = baseline(identity(3), 2, head.model, crossed, inner)
        ends.append(scored(learner, x, LABELS, x, None, params))
        again = scored(learner, 3 * x, LABELS, 7 * x, None, params)
        np.testing.assert_allclose(again, ends[-1], rtol=1e-3, atol=1e-4)
        assert np.abs(ends[-1]).max() <= 4.0
    kernel = np.asarray(head.plan.params["kernel"])
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(ends[0], 4 * x @ kernel / norms, rtol=1e-5)
    labels = np.arange(5), LABELS
    costs = [-np.log(probabilities(np.asarray(e))[labels]).mean() for e in ends]
    assert costs[1] < 0.8 * costs[0]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"kind 'cosin'.*cosine"):
        readout(3, 2, kind="cosin")
    head = player(readout(3, 2), None)
    inner = Inner(head.plan.rates, optax.sgd(0.3), 1)
    learner = baseline(identity(3), 2, head.model, crossed, inner)
    x, query = drawn()
    with pytest.raises(ValueError, match=r"player 'readout'.*raedout"):
        scored(learner, x, LABELS, query, None, {"raedout": head.plan.params})
    assert jax.tree.leaves(head.plan.rates) == [1.0, 1.0]
