"""Votes of nearest rows against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.estimators import nearest_votes
from tl_jax.tree import NoMatch

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = np.arange(12) % 3
Q = RNG.normal(size=(5, 4)).astype(np.float32)
W = RNG.integers(0, 3, size=12).astype(np.float32)


def loop(k, vote, temperature, weight):
    found = np.zeros((len(Q), 3))
    for q, query in enumerate(Q.astype(np.float64)):
        near = [
            (float(query @ x) / np.linalg.norm(query) / np.linalg.norm(x), i)
            for i, x in enumerate(X.astype(np.float64))
            if weight[i] > 0
        ]
        for similar, i in sorted(near, reverse=True)[:k]:
            own = np.exp((similar - 1) / temperature) if vote == "weighted" else 1.0
            found[q, Y[i]] += weight[i] * own
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize("weight", [None, W])
@pytest.mark.parametrize("vote", ["weighted", "plain"])
@pytest.mark.parametrize("k", [1, 4, 200])
def test_votes_are_those_of_a_loop(k, vote, weight):
    want = loop(k, vote, 0.2, np.ones(12) if weight is None else weight)
    how = dict(classes=3, k=k, vote=vote, temperature=0.2, weight=weight)
    np.testing.assert_allclose(nearest_votes(X, Y, Q, **how), want, atol=1e-5)


def test_it_traces_and_no_temperature_is_too_low():
    """exp(1 / 0.001) is no float32, and rows far from the first one are 0."""
    made = jax.jit(lambda x, y, q, t: nearest_votes(x, y, q, classes=3, temperature=t))
    for temperature in (0.07, 1e-3):
        found = made(X, jnp.asarray(Y), Q, temperature)
        want = loop(200, "weighted", temperature, np.ones(12))
        np.testing.assert_allclose(found, want, atol=1e-3)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"k": 0}, "k is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"classes": 2}, "labels: row 2 is 2, expected 0..1"),
        ({"queries": Q[:, :3]}, r"queries have shape \(5, 3\), expected \[Q 4\]"),
        ({"queries": np.where(Q > 0, Q, np.nan)}, "queries: row 0 has a NaN"),
        ({"weight": np.zeros(12)}, "every weight is zero"),
    ],
)
def test_bad_input_raises(more, message):
    given = {"features": X, "labels": Y, "queries": Q, "classes": 3}
    with pytest.raises(ValueError, match=message):
        nearest_votes(**given | more)
    with pytest.raises(NoMatch, match="vote 'plan' matches nothing; nearest: plain"):
        nearest_votes(**given, vote="plan")
