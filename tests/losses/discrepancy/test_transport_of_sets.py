"""Sliced and entropic transport against sorts, assignments and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog
from scipy.special import log_softmax
from two_sets import WEIGHTS, drawn

from tl_jax.losses.discrepancy import (
    Sinkhorn,
    joint_transport,
    sliced_wasserstein,
    transport_cost,
    transport_plan,
)

KEY = jax.random.key(0)
SHARP = Sinkhorn(epsilon=2e-3, tolerance=1e-5, rounds=5000)


def on_a_line(x, y, first, second):
    """Moves the smallest mass that is left to the smallest place that is left."""
    x, y = sorted(zip(x, first, strict=True)), sorted(zip(y, second, strict=True))
    x, y = ([[v, w] for v, w in side if w > 0] for side in (x, y))
    total = 0.0
    while x and y:
        moved = min(x[0][1], y[0][1])
        total += moved * (x[0][0] - y[0][0]) ** 2
        x[0][1], y[0][1] = x[0][1] - moved, y[0][1] - moved
        x, y = ([r for r in side if r[1] > 1e-12] for side in (x, y))
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [(6, 6), (6, 5)])
def test_sliced_distances_are_those_of_loops(rows, weighted):
    source, target = drawn(rows)
    first, second = np.ones(rows[0]), np.ones(rows[1])
    if weighted:
        first, second = WEIGHTS[0], np.resize(WEIGHTS[1], rows[1])
    lines = np.asarray(jax.random.normal(KEY, (4, 16)), np.float64)
    lines /= np.linalg.norm(lines, axis=0)
    shares = [list(w / w.sum()) for w in (first, second)]
    wanted = np.mean([on_a_line(source @ u, target @ u, *shares) for u in lines.T])
    given = (first, second) if weighted else ()
    found = sliced_wasserstein(KEY, source, target, *given, lines=16)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_the_plain_sort_is_the_weighted_form_of_equal_rows():
    source, target = drawn((6, 6))

    def both(*weights):
        def loss(s):
            return sliced_wasserstein(KEY, s, target, *weights)

        return jax.value_and_grad(loss)(source)

    plain, weighted = both(), both(np.ones(6), np.ones(6))
    for a, b in zip(plain, weighted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_plans_have_their_margins_and_are_scaled_kernels():
    """exp(-M / e) between two diagonals: what Sinkhorn's theorem says is unique."""
    cost = np.random.default_rng(0).uniform(size=(6, 5)).astype("f")
    a, b = (w / w.sum() for w in WEIGHTS)
    how = Sinkhorn(0.3, 1e-6)
    plan = np.asarray(transport_plan(cost, *WEIGHTS, how), np.float64)
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-6)
    np.testing.assert_allclose(plan.sum(0), b, atol=1e-6)
    assert (plan[a == 0] == 0).all()
    assert (plan[:, b == 0] == 0).all()
    real = np.ix_(a > 0, b > 0)
    logs = np.log(plan[real]) + cost[real] / (0.3 * (a @ cost @ b))
    flat = logs - logs.mean(0) - logs.mean(1)[:, None] + logs.mean()
    np.testing.assert_allclose(flat, 0, atol=1e-5)


def test_a_sharp_plan_is_the_best_assignment():
    source, target = drawn((7, 7))
    squares = np.square(source[:, None].astype(np.float64) - target).sum(-1)
    rows, columns = linear_sum_assignment(squares)
    found = transport_cost(source, target, how=SHARP)
    np.testing.assert_allclose(found, squares[rows, columns].mean(), rtol=1e-3)


def test_a_sharp_plan_of_weights_is_that_of_a_linear_program():
    source, target = drawn()
    a, b = (w.astype(np.float64) / w.sum() for w in WEIGHTS)
    squares = np.square(source[:, None].astype(np.float64) - target).sum(-1)
    rows = np.kron(np.eye(6), np.ones(5))
    columns = np.kron(np.ones(6), np.eye(5))
    margins = np.concatenate([rows, columns])
    exact = linprog(squares.ravel(), A_eq=margins, b_eq=np.concatenate([a, b]))
    found = transport_cost(source, target, *WEIGHTS, SHARP)
    np.testing.assert_allclose(found, exact.fun, rtol=5e-3)


def test_gradients_are_those_of_the_cost_under_a_fixed_plan():
    source, target = drawn()
    plan = np.asarray(
        transport_plan(np.square(source[:, None] - target).sum(-1)), np.float64
    )
    wanted = np.zeros(source.shape)
    for i in range(6):
        for j in range(5):
            wanted[i] += 2 * plan[i, j] * (source[i] - target[j])
    found = jax.grad(transport_cost)(source, target)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shares", [False, True])
def test_joint_costs_are_those_of_loops(shares):
    source, target = drawn()
    logits = np.random.default_rng(1).normal(size=(5, 3)).astype("f")
    labels = np.array([0, 2, 1, 1, 0, 2])
    logs = log_softmax(logits.astype(np.float64), axis=1)
    cost = np.zeros((6, 5))
    for i in range(6):
        for j in range(5):
            far = sum((source[i].astype(np.float64) - target[j]) ** 2)
            cost[i, j] = 0.3 * far - 2 * logs[j, labels[i]]
    plan = transport_plan(cost.astype("f"), *WEIGHTS)
    given = np.eye(3, dtype="f")[labels] if shares else labels
    found = joint_transport(
        source, target, given, logits, *WEIGHTS, features=0.3, classes=2
    )
    np.testing.assert_allclose(found, (plan * cost).sum(), rtol=1e-5)


def test_sets_without_weight_cost_nothing():
    source, target = drawn()
    nobody = np.zeros(6, "f")
    for loss in (transport_cost, lambda *given: sliced_wasserstein(KEY, *given)):
        found, slope = jax.value_and_grad(loss)(source, target, nobody)
        assert found == 0
        np.testing.assert_array_equal(slope, 0)


def test_costs_of_any_size_make_the_same_plan():
    cost = np.random.default_rng(0).uniform(size=(6, 5)).astype("f")
    plan = transport_plan(cost)
    for factor in (1e-6, 1e6):
        np.testing.assert_allclose(transport_plan(factor * cost), plan, rtol=1e-4)
    np.testing.assert_allclose(transport_plan(0 * jnp.asarray(cost)), 1 / 30)


@pytest.mark.parametrize(
    "how, message",
    [
        (Sinkhorn(epsilon=0), "epsilon is 0"),
        (Sinkhorn(tolerance=-1), "tolerance is -1"),
        (Sinkhorn(rounds=0), "rounds is 0"),
    ],
)
def test_ways_that_lead_nowhere(how, message):
    with pytest.raises(ValueError, match=message):
        transport_cost(*drawn(), how=how)


def test_bad_input():
    source, target = drawn()
    with pytest.raises(ValueError, match="lines is 0"):
        sliced_wasserstein(KEY, source, target, lines=0)
    with pytest.raises(ValueError, match="classes is -1"):
        joint_transport(source, target, np.zeros(6, int), target, classes=-1)
