"""Kernel mean matching against other solvers, its certificate, and its limits."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from tl_jax.estimators.weighting import kmm
from tl_jax.estimators.weighting.gaussian import gaussian, median_distance
from tl_jax.estimators.weighting.low_rank import pivoted
from tl_jax.estimators.weighting.quadratic import (
    Box,
    inside,
    optimality_gap,
    solve_quadratic,
)

BOUNDS = [(1000.0, None), (3.0, None), (1000.0, 0.0), (2.0, 0.02)]


def rows(count=40, width=2, seed=0, more=30):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(count, width))
    return source, rng.normal(0.5, 0.7, (more, width))


def programme(source, target, sigma):
    """(K, k) by loops."""
    n, m = len(source), len(target)
    K, k = np.empty((n, n)), np.empty(n)
    for i in range(n):
        for j in range(n):
            K[i, j] = np.exp(-((source[i] - source[j]) ** 2).sum() / (2 * sigma**2))
        k[i] = sum(
            np.exp(-((source[i] - t) ** 2).sum() / (2 * sigma**2)) for t in target
        )
    return K, n / m * k


def box(count, bound, epsilon):
    epsilon = 1 - count**-0.5 if epsilon is None else epsilon
    return Box(bound, count * (1 - epsilon), count * (1 + epsilon))


def reference(K, k, limits):
    """The same programme by scipy's SLSQP."""
    ones = np.ones(len(k))
    found = minimize(
        lambda b: b @ K @ b / 2 - k @ b,
        np.full(len(k), (limits.low + limits.high) / 2 / len(k)),
        jac=lambda b: K @ b - k,
        bounds=[(0, limits.bound)] * len(k),
        constraints=[
            {
                "type": "ineq",
                "fun": lambda b: b.sum() - limits.low,
                "jac": lambda b: ones,
            },
            {
                "type": "ineq",
                "fun": lambda b: limits.high - b.sum(),
                "jac": lambda b: -ones,
            },
        ],
        options={"ftol": 1e-14, "maxiter": 1000},
        method="SLSQP",
    )
    return found.x


@pytest.mark.parametrize("bound, epsilon", BOUNDS)
def test_is_the_programme_s_solution_by_another_solver(bound, epsilon):
    """With a narrow kernel, whose eigenvalues single out one solution."""
    source, target = rows()
    K, k = programme(source, target, 0.3)
    found = kmm(
        source, target, sigma=0.3, bound=bound, epsilon=epsilon, tolerance=1e-13
    )
    want = reference(K, k, box(len(k), bound, epsilon))
    np.testing.assert_allclose(found.values, want, atol=2e-4)
    assert found.found["converged"]


@pytest.mark.parity
@pytest.mark.parametrize("bound, epsilon", BOUNDS)
@pytest.mark.parametrize("sigma", [0.3, None])
def test_200_points_are_cvxopt_s(bound, epsilon, sigma):
    cvxopt = pytest.importorskip("cvxopt", reason="pip install cvxopt")
    source, target = rows(200, 3, more=150)
    width = median_distance(source, target) if sigma is None else sigma
    K, k = programme(source, target, width)
    limits, n = box(200, bound, epsilon), 200
    eye, one = np.eye(n), np.ones((1, n))
    G = cvxopt.matrix(np.concatenate([-eye, eye, one, -one]))
    ends = [np.zeros(n), np.full(n, limits.bound), [limits.high], [-limits.low]]
    # Where both bounds meet, cvxopt's cone would have no inside.
    equal = limits.low == limits.high
    h = cvxopt.matrix(np.concatenate(ends[:2] if equal else ends))
    more = (cvxopt.matrix(one), cvxopt.matrix([float(n)])) if equal else ()
    G = G[: 2 * n, :] if equal else G
    close = dict(abstol=1e-11, reltol=1e-11, feastol=1e-11, show_progress=False)
    args = cvxopt.matrix(K), cvxopt.matrix(-k), G, h, *more
    want = np.ravel(cvxopt.solvers.qp(*args, options=close)["x"])
    found = kmm(
        source, target, sigma=sigma, bound=bound, epsilon=epsilon, tolerance=1e-12
    )

    def value(b):
        return b @ K @ b / 2 - k @ b

    assert value(found.values) <= value(want) + 1e-9 * abs(value(want))
    np.testing.assert_allclose(K @ found.values, K @ want, atol=1e-5 * k.max())
    if sigma is not None:
        np.testing.assert_allclose(found.values, want, atol=1e-4)


@pytest.mark.parametrize("bound, epsilon", BOUNDS)
@pytest.mark.parametrize("sigma", [0.2, 1.0, 10.0])
def test_kuhn_and_tucker_agree(bound, epsilon, sigma):
    """Of the box and the slab: one price, and slopes of the right sign around it."""
    source, target = rows(60)
    found = kmm(
        source, target, sigma=sigma, bound=bound, epsilon=epsilon, tolerance=1e-12
    )
    b, limits = found.values, box(60, bound, epsilon)
    K, k = programme(source, target, sigma)
    slope = K @ b - k
    assert (b >= 0).all()
    assert (b <= bound).all()
    assert limits.low * (1 - 1e-12) <= b.sum() <= limits.high * (1 + 1e-12)
    # sum_i of what a row could gain, weighed by how far it could go.
    inner = limits.low + 1e-3 < b.sum() < limits.high - 1e-3
    free = (b > 1e-4) & (b < bound - 1e-4)
    price = 0.0 if inner else np.median(slope[free])
    size = np.abs(k).max()
    assert (slope[b < bound - 1e-4] >= price - 2e-4 * size).all()
    assert (slope[b > 1e-4] <= price + 2e-4 * size).all()
    assert found.found["gap"] <= 1e-9


@pytest.mark.parametrize("low, high", [(3.0, 5.0), (4.0, 4.0), (0.5, 20.0)])
def test_the_certificate_is_that_linear_programme(low, high):
    rng = np.random.default_rng(0)
    slope, b = rng.normal(size=12), rng.uniform(0, 1, 12)
    limits = Box(1.7, low, high)
    b = inside(b * 5 / b.sum(), limits)
    ones = np.ones((1, 12))
    least = linprog(
        slope, np.concatenate([ones, -ones]), [high, -low], bounds=[(0, 1.7)] * 12
    )
    assert optimality_gap(slope, b, limits) == pytest.approx(slope @ b - least.fun)


def test_the_certificate_bounds_what_is_left():
    """Stopped at any step, the value is no more than the gap above the least."""
    source, target = rows(50)
    K, k = programme(source, target, 0.5)
    limits = box(50, 1000.0, None)

    def value(b):
        return b @ K @ b / 2 - k @ b

    best = solve_quadratic(K, k, limits, tolerance=1e-10)
    for steps in (1, 3, 5):
        early = solve_quadratic(K, k, limits, steps=steps)
        assert value(early.b) - value(best.b) <= early.gap + 1e-9
        assert early.gap > best.gap


def test_moving_and_scaling_all_rows_changes_nothing():
    source, target = rows()
    want = kmm(source, target, sigma=0.4, tolerance=1e-13).values
    moved = kmm(7 * source + 3, 7 * target + 3, sigma=2.8, tolerance=1e-13).values
    np.testing.assert_allclose(moved, want, atol=1e-4)


def test_equal_sides_weigh_one():
    source, _ = rows(100, 2)
    found = kmm(source, source, sigma=0.3, tolerance=1e-13)
    np.testing.assert_allclose(found.values, 1.0, atol=1e-3)


def test_the_factor_is_the_kernel():
    source, _ = rows(60)
    K = gaussian(source, source, 1.5)
    whole = pivoted(source, 1.5, 60, 1e-14)
    b = np.random.default_rng(1).normal(size=60)
    assert whole.root.shape[1] < 60
    np.testing.assert_allclose(whole.root @ whole.root.T, K, atol=1e-12)
    part = pivoted(source, 1.5, 5, 0.0)
    near = part.root @ part.root.T
    assert part.root.shape == (60, 5)
    np.testing.assert_allclose(np.diag(near) + part.rest, 1.0, atol=1e-12)
    assert np.linalg.eigvalsh(K - near).min() > -1e-12
    np.testing.assert_allclose(part.times(b), near @ b + part.rest * b, atol=1e-12)
    hopeless = pivoted(source, 0.01, 50, 1e-12, hopeful=True)
    assert hopeless.root.shape[1] == 32


def test_beyond_exact_the_factor_stands_for_the_kernel():
    """A smooth kernel is its factor; of a narrow one it says what is missing."""
    source, target = rows(300, 2, more=200)
    whole = kmm(source, target, sigma=2.0)
    factored = kmm(source, target, sigma=2.0, exact=10, rank=60)
    K, k = programme(source, target, 2.0)

    def value(b):
        return b @ K @ b / 2 - k @ b

    assert factored.found["rank"] <= 60
    assert factored.found["unexplained"] < 1e-6
    assert value(factored.values) == pytest.approx(value(whole.values), rel=1e-5)
    rough = kmm(source, target, sigma=0.1, exact=10, rank=60)
    assert rough.found["unexplained"] > 0.3
    assert rough.found["converged"]


def test_what_does_not_fit_is_refused():
    source, target = rows()
    hole = np.where(np.arange(40)[:, None] == 3, np.nan, 1.0)
    for match, wrong in (
        ("target rows 1", dict(target=target[:, :1])),
        (
            "row 3 has a NaN",
            dict(source=hole),
        ),
        ("expected \\[N D\\]", dict(source=source[:, 0])),
        ("sigma is -1", dict(sigma=-1.0)),
        ("epsilon is 1", dict(epsilon=1.0)),
        ("can't add up to", dict(bound=0.5, epsilon=0.0)),
        ("most rows are equal", dict(source=np.ones((5, 2)), target=np.ones((9, 2)))),
    ):
        with pytest.raises(ValueError, match=match):
            kmm(**(dict(source=source, target=target) | wrong))
