"""Support vector heads against learn2learn's and SciPy's solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given import as_recorded, below, check_twice, identity, recorded_heads
from scipy.optimize import minimize

from tl_jax.algorithms.meta import on_model
from tl_jax.algorithms.meta.metaoptnet import svm_dual, svm_head
from tl_jax.algorithms.meta.simplex_qp import simplex_qp
from tl_jax.losses.similarity import unit
from tl_jax.models import prepared


@pytest.mark.parametrize("kind", ["plain", "normalised"])
def test_logits_and_gradients_are_those_of_learn2learn(kind, golden):
    """In float64; its solver stops early: by finite differences ours is the nearer."""
    recorded = recorded_heads(golden)
    made = below(recorded, f"svm/{kind}")
    with jax.enable_x64(True):
        model = identity(6)
        if kind == "normalised":
            model = prepared(model, lambda x: {"features": unit(x["features"])})
        as_recorded(on_model(model, svm_head(5, 0.1)), recorded, made, 5e-5)


def by_scipy(q, linear, total, free):
    """B [N C] of the programme, by sequential quadratic programming."""
    rows, classes = linear.shape

    def cost(flat):
        b = flat.reshape(rows, classes)
        return (b * (q @ b)).sum() / 2 + (linear * b).sum()

    def slope(flat):
        return (q @ flat.reshape(rows, classes) + linear).ravel()

    sums = {"type": "eq", "fun": lambda b: b.reshape(rows, classes).sum(1) - total}
    start = np.where(free, (total / free.sum(1))[:, None], 0).ravel()
    bounds = [(0, None if f else 0) for f in free.ravel()]
    how = dict(method="SLSQP", bounds=bounds, constraints=sums)
    options = {"ftol": 1e-14, "maxiter": 500}
    found = minimize(cost, start, jac=slope, options=options, **how)
    assert found.success
    return found.x.reshape(rows, classes)


def programme(rows=5, classes=3, size=1.0):
    """Rows of different totals; some bounds are met, one class of one row is closed."""
    rng = np.random.default_rng(0)
    z = size * rng.normal(size=(rows, 2))
    q = z @ z.T + np.eye(rows)
    free = np.ones((rows, classes), bool)
    free[1, -1] = False
    return q, rng.normal(size=(rows, classes)), np.linspace(0.2, 1, rows), free


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_the_programme_is_solved_in_float32(size):
    q, linear, total, free = programme(size=size)
    wanted = by_scipy(q, linear, total, free)
    assert (wanted < 1e-6).any()
    assert (wanted[free] > 1e-3).any()
    given = [jnp.asarray(x, jnp.float32) for x in (q, linear, total)]
    found = jax.jit(simplex_qp)(*given, jnp.asarray(free))
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    np.testing.assert_allclose(found.sum(1), total, rtol=1e-5)
    assert (found >= 0).all()
    assert found[1, 2] == 0


def test_first_and_second_derivatives_are_exact():
    """In float64 by all three arrays."""
    with jax.enable_x64(True):
        _, linear, total, free = programme(4)

        def f(z, linear, total):
            q = z @ z.T + jnp.eye(4)
            return simplex_qp(q, linear, total, jnp.asarray(free), steps=25)

        z = np.random.default_rng(1).normal(size=(4, 2))
        check_twice(f, z, linear, total, small=1e-6)


def test_gradients_in_float32_are_those_of_float64():
    """Of features as long as networks make them."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 3)
    z = 5 * rng.normal(size=(3, 8))[labels] + 5 * rng.normal(size=(9, 8))
    along = rng.normal(size=(9, 3))

    def gradient(kind):
        def cost(z):
            own = jax.nn.one_hot(labels, 3, dtype=kind)
            given = z, own, jnp.ones(9, kind), jnp.ones(3, bool)
            return (along * svm_dual(*given, 0.1, 1.0, 15)).sum()

        return np.asarray(jax.jit(jax.grad(cost))(jnp.asarray(z, kind)))

    found = gradient(jnp.float32)
    with jax.enable_x64(True):
        wanted = gradient(jnp.float64)
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())


def test_rows_weigh_by_their_cost_and_absent_classes_take_no_part():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(5, 2)), np.array([0, 0, 1, 1, 1])
    weight = np.array([1, 0.5, 1, 0, 2])
    own = np.eye(3)[labels]
    present = jnp.array([True, True, False])
    given = [jnp.asarray(x, jnp.float32) for x in (z, own, weight)]
    dual = svm_dual(*given, present, 0.3, 1.0, 15)
    np.testing.assert_array_equal(dual[:, 2], 0)
    np.testing.assert_array_equal(dual[3], 0)
    np.testing.assert_allclose(dual.sum(1), 0, atol=1e-6)
    assert (dual <= 0.3 * weight[:, None] * own + 1e-6).all()
    shown = weight > 0
    free = np.broadcast_to([True, True, False], (4, 3))
    q = np.asarray(z[shown] @ z[shown].T + np.eye(4))
    most = 0.3 * weight[shown, None] * own[shown]
    wanted = most - by_scipy(q, own[shown] - q @ most, 0.3 * weight[shown], free)
    np.testing.assert_allclose(dual[shown], wanted, atol=1e-5)


def test_bad_constants_are_named():
    for kind in ("cost", "scale", "damping", "steps"):
        with pytest.raises(ValueError, match=f"{kind} is 0, expected a number above 0"):
            svm_head(3, **{kind: 0})
