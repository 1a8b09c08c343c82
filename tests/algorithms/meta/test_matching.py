"""Matching networks against loops, without and with full context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given import identity, scored

from tl_jax.algorithms.meta import matching
from tl_jax.models import full_context
from tl_jax.nn import lstm

LABELS = [0, 1, 0, 2, 1, 0]


def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.normal(size=(3, 4))


def by_loop(g, f, weight, temperature):
    """log P [B C] of the paper's first equation."""
    found = np.zeros((len(f), 3))
    for i, z in enumerate(f):
        cosines = [z @ x / np.linalg.norm(z) / np.linalg.norm(x) for x in g]
        a = [w * np.exp(c / temperature) for w, c in zip(weight, cosines, strict=True)]
        for share, k in zip(a, LABELS, strict=True):
            found[i, k] += share / sum(a)
    return np.log(found)


def test_logits_are_logs_of_what_is_attended_to():
    x, query = drawn()
    weight = [1, 1, 2, 1, 0.5, 0]
    learner = matching(identity(4), 3, temperature=0.5)
    found = scored(learner, x, LABELS, query, weight)
    wanted = by_loop(x, query, weight, 0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def stepped(site, x, state, cell):
    """One step of one vector, gate by gate."""
    width = len(cell)
    gates = x @ site["input"]["kernel"] + site["input"]["bias"]
    gates = gates + state @ site["state"]["kernel"]
    i, f, g, o = (gates[k * width : (k + 1) * width] for k in range(4))
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


@pytest.mark.parametrize("reverse", [False, True])
def test_an_lstm_is_its_loop_and_passes_over_padding(reverse):
    params = jax.tree.map(np.asarray, full_context(4).init(jax.random.key(0))[0])
    site, (x, _) = params["forward"], drawn()
    mask = np.array([1, 1, 0, 1, 1, 0])
    found = lstm(site, jnp.asarray(x, jnp.float32)[None], mask[None], reverse=reverse)
    h = c = np.zeros(4)
    for t in range(6)[:: -1 if reverse else 1]:
        if mask[t]:
            h, c = stepped(site, x[t], h, c)
        np.testing.assert_allclose(found[0, t], h, rtol=1e-4, atol=1e-6)


def test_full_context_is_its_loops():
    model = full_context(4, processing_steps=3)
    params, _ = model.init(jax.random.key(1))
    learner = matching(identity(4), 3, context=model)
    x, query = drawn()
    weight = [1, 1, 1, 1, 1, 0]
    found = scored(learner, x, LABELS, query, weight, {"context": params})
    site, g = jax.tree.map(np.asarray, params), x.copy()
    for name, order in (("forward", range(5)), ("backward", range(4, -1, -1))):
        h = c = np.zeros(4)
        for t in order:
            h, c = stepped(site[name], x[t], h, c)
            g[t] += h
    f = []
    for z in query:
        h = c = np.zeros(4)
        for _ in range(3):
            share = np.exp(g[:5] @ h) / np.exp(g[:5] @ h).sum()
            h, c = stepped(site["read"], z, np.concatenate([h, share @ g[:5]]), c)
            h = h + z
        f.append(h)
    wanted = by_loop(g, f, weight, 1.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_context_is_of_the_support_set_alone():
    """Another query changes none; another support row changes all."""
    model = full_context(4)
    params = {"context": model.init(jax.random.key(1))[0]}
    learner = matching(identity(4), 3, context=model)
    x, query = drawn()
    first = scored(learner, x, LABELS, query, None, params)
    second = scored(learner, x, LABELS, query[:1], None, params)
    np.testing.assert_allclose(second, first[:1], rtol=1e-5)
    x[5] += 1
    third = scored(learner, x, LABELS, query, None, params)
    assert (np.abs(third - first).max(-1) > 1e-4).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="processing_steps is 0, expected 1 or more"):
        full_context(4, processing_steps=0)
    x, query = drawn()
    learner = matching(identity(4), 3, context=full_context(4))
    with pytest.raises(ValueError, match=r"player 'context'.*model"):
        scored(learner, x, LABELS, query)
