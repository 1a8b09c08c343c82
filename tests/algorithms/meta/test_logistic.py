"""Logistic heads against scikit-learn's minimum, and derivatives of the minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given import check_twice, scored
from headed import case, crossed, overlapping, started
from sklearn.linear_model import LogisticRegression

from tl_jax.algorithms.meta import linear_probe
from tl_jax.algorithms.meta.conjugate import conjugate
from tl_jax.algorithms.meta.logistic import Problem, fitted, logistic_head
from tl_jax.minimise import minimise


def drawn(rows=9, width=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    return rng.normal(size=(rows, width)) + 0.5 * labels[:, None], labels


@pytest.mark.parametrize("normalise", [False, True])
def test_probabilities_are_those_of_scikit_learn(normalise):
    """Whose penalty is 1 / (C sum w) in ours, with weights of rows."""
    x, labels = drawn()
    query, _ = drawn(5, seed=1)
    weight = np.linspace(0.5, 2, 9)
    x = np.concatenate([x, 9 + x[:1]])
    labels, weight = np.append(labels, 1), np.append(weight, 0)
    head = logistic_head(3, 0.05, normalise=normalise, tolerance=1e-6)
    logits = scored(head, x, labels, query, weight)
    own = lambda z: z / np.linalg.norm(z, axis=1, keepdims=True) if normalise else z  # noqa: E731
    peer = LogisticRegression(C=1 / (0.05 * weight.sum()), tol=1e-8, max_iter=1000)
    peer.fit(own(x), labels, weight)
    wanted = peer.predict_proba(own(query))
    np.testing.assert_allclose(jax.nn.softmax(logits), wanted, rtol=1e-3, atol=1e-4)


def test_derivatives_of_the_minimum_are_exact():
    """First and second, by features and strength, in float64; one class is absent."""
    with jax.enable_x64(True):
        x, labels = drawn(4, 2)
        labels = labels % 2
        member = jnp.asarray(np.eye(3)[labels] / 4)
        present = jnp.array([True, True, False])

        def f(x, strength):
            return fitted(Problem(x, member, present, strength), 1e-12, 200)

        args = jnp.asarray(x), jnp.asarray(0.2)
        check_twice(f, *args)
        found = f(*args)
        np.testing.assert_allclose(found.bias.sum(), 0, atol=1e-9)
        np.testing.assert_allclose(found.kernel[:, 2], 0, atol=1e-9)


def test_a_probe_lets_no_gradient_into_features():
    made = case("logistic")
    model = made.players["model"].model
    probe = made._replace(learner=linear_probe(model, 3, strength=0.1))
    algorithm, state, frozen = started(probe, crossed)
    after, _ = jax.jit(algorithm.step)(state, frozen, overlapping(), jax.random.key(0))
    for old, new in zip(*map(jax.tree.leaves, (state.train, after.train)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_minimum_is_found_or_not_and_says_so():
    def bowl(x, data):
        return jnp.square(data * (x["a"] - 1)).sum() + x["b"] ** 4

    start = {"a": jnp.zeros(2), "b": jnp.float32(1)}
    data = jnp.array([1.0, 10.0])
    found, done = minimise(bowl, start, data, 1e-5, 200)
    assert done
    np.testing.assert_allclose(found["a"], 1, atol=1e-5)
    assert not minimise(bowl, start, data, 1e-5, 1)[1]


def test_conjugate_gradients_solve_and_are_differentiated():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        root, right = rng.normal(size=(4, 4)), rng.normal(size=4)
        root, right = jnp.asarray(root), jnp.asarray(right)

        def f(root, right):
            matrix = root @ root.T + jnp.eye(4)
            return conjugate(lambda x: matrix @ x, right, 1e-12, 20)

        wanted = np.linalg.solve(root @ root.T + np.eye(4), right)
        np.testing.assert_allclose(f(root, right), wanted, rtol=1e-8)
        check_twice(f, root, right)
        np.testing.assert_array_equal(f(root, 0 * right), 0)


def test_bad_constants_are_named():
    for kind in ("strength", "tolerance", "steps"):
        with pytest.raises(ValueError, match=f"{kind} is 0, expected a number above 0"):
            logistic_head(3, **{kind: 0})
