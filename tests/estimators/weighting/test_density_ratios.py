"""KLIEP, uLSIF, RuLSIF, propensity and neighbours against loops and the truth."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from tl_jax.data import shift_toy
from tl_jax.estimators.weighting import (
    kliep,
    kmm,
    nearest,
    propensity,
    rulsif,
    ulsif,
)
from tl_jax.estimators.weighting.platt import log_loss, platt
from tl_jax.estimators.weighting.simplex import most_likely


def toy(rows=60, seed=0, more=None):
    rng = np.random.default_rng(seed)
    train = shift_toy.draw("train", rows, rng)[0]
    return train, shift_toy.draw("test", more or rows, rng)[0]


def kernel(a, b, sigma):
    return np.exp(-((a[:, None] - b) ** 2).sum(-1) / (2 * sigma**2))


METHODS = {
    "kliep": lambda s, t: kliep(s, t, sigmas=(0.5,)),
    "ulsif": lambda s, t: ulsif(s, t, sigmas=(0.5,)),
    "rulsif": lambda s, t: rulsif(s, t, sigmas=(0.5,)),
    "propensity": lambda s, t: propensity(s, t, quadratic=True),
    "nearest": lambda s, t: nearest(s, t, k=20),
    "kmm": lambda s, t: kmm(s, t, sigma=5.0, bound=10),
}


@pytest.mark.parametrize("name", METHODS)
def test_one_distribution_weighs_about_one(name):
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 400, 1))
    values = METHODS[name](source, target).values
    assert values.min() >= 0
    assert values.mean() == pytest.approx(1, abs=0.15)
    assert np.median(np.abs(values - 1)) < 0.35


@pytest.mark.parametrize("name", [n for n in METHODS if n != "kmm"])
def test_weights_follow_the_true_ratio(name):
    source, target = toy(500)
    truth = shift_toy.true_ratio(source)
    if name == "rulsif":
        truth = truth / (0.1 * truth + 0.9)
    values = METHODS[name](source, target).values
    assert np.corrcoef(values, truth)[0, 1] > 0.85
    assert np.corrcoef(np.ones(500) + source[:, 0] ** 2, truth)[0, 1] < 0.5


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("kmm", "nearest")])
def test_new_rows_get_the_same_ratio(name):
    source, target = toy(200)
    found = METHODS[name](source, target)
    got = found.ratio(source)
    if name == "propensity":  # the given rows' own classifiers did not see them
        assert np.corrcoef(got, found.values)[0, 1] > 0.95
    else:
        np.testing.assert_allclose(got, found.values, rtol=1e-12)
    assert found.ratio(target[:3]).shape == (3,)


@pytest.mark.parametrize("name", ["nearest", "propensity"])
def test_scale_of_the_rows_changes_nothing(name):
    source, target = toy()
    values = METHODS[name](source, target).values
    moved = METHODS[name](8 * source + 1, 8 * target + 1).values
    np.testing.assert_allclose(moved, values, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("method", [kliep, ulsif])
def test_widths_to_choose_from_scale_with_the_rows(method):
    source, target = toy(30)
    values, moved = method(source, target), method(8 * source, 8 * target)
    assert moved.found["sigma"] == pytest.approx(8 * values.found["sigma"])
    np.testing.assert_allclose(moved.values, values.values, rtol=1e-4, atol=1e-6)


def test_kliep_is_the_most_likely_ratio():
    source, target = toy(40, more=25)
    found = kliep(source, target, sigmas=(0.4,), tolerance=1e-10)
    A, b = kernel(target, target, 0.4), kernel(source, target, 0.4).mean(0)
    alpha = found.ratio.alpha
    assert alpha.min() >= 0
    assert found.values.mean() == pytest.approx(1)
    other = minimize(
        lambda a: -np.log(A @ a).mean() + b @ a,
        np.full(25, 1 / b.sum()),
        jac=lambda a: b - (A / (A @ a)[:, None]).mean(0),
        bounds=[(0, None)] * 25,
        options={"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10},
    )
    got = np.log(A @ alpha).mean()
    assert got >= np.log(A @ (other.x / (b @ other.x))).mean() - 1e-9
    assert got == pytest.approx(np.log(A @ other.x).mean(), abs=1e-5)
    assert 0 <= found.found["gap"] <= 1e-10


def test_kliep_s_score_is_the_mean_log_ratio_of_rows_left_out():
    source, target = toy(40, more=23)
    widths = (0.2, 0.8)
    found = kliep(source, target, sigmas=widths, folds=3, seed=5)
    fold = np.random.default_rng(5).permutation(23) % 3
    for sigma in widths:
        scores = []
        for number in range(3):
            kept = kliep(source, target[fold != number], sigmas=(sigma,))
            scores.append(np.log(kept.ratio(target[fold == number])).mean())
        assert found.found["scores"][sigma] == pytest.approx(np.mean(scores), rel=1e-6)
    best = max(widths, key=found.found["scores"].get)
    assert found.found["sigma"] == best


def test_the_gap_of_shares_bounds_the_likelihood():
    C = np.random.default_rng(0).uniform(size=(30, 6)) ** 4
    best, gap = most_likely(C, 1e-12)
    assert best.sum() == pytest.approx(1)
    rough, far = most_likely(C, 1e-12, steps=2)
    lack = np.log(C @ best).mean() - np.log(C @ rough).mean()
    assert gap < 1e-10
    assert 0 < lack <= far
    for other in np.random.default_rng(1).dirichlet(np.ones(6), 50):
        assert np.log(C @ other).mean() <= np.log(C @ best).mean() + gap


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("sizes", [(12, 9), (9, 12)])
def test_leave_one_out_is_the_loop(alpha, sizes):
    """Each pair left out, everything solved anew."""
    n, m = sizes
    source, target = toy(n, more=m)
    grid = dict(sigmas=(0.3, 0.9), lambdas=(0.01, 0.3))
    found = rulsif(source, target, alpha=alpha, seed=3, **grid)
    order = np.random.default_rng(3)
    s, t = source[order.permutation(n)], target[order.permutation(m)]
    for (sigma, strength), got in found.found["scores"].items():
        on_s, on_t = kernel(s, target, sigma), kernel(t, target, sigma)
        total = 0.0
        for i in range(min(n, m)):
            a, b = np.delete(on_s, i, 0), np.delete(on_t, i, 0)
            H = (1 - alpha) * a.T @ a / len(a) + alpha * b.T @ b / len(b)
            theta = np.linalg.solve(H + strength * np.eye(m), b.mean(0))
            theta = np.maximum(theta, 0)
            x, y = on_s[i] @ theta, on_t[i] @ theta
            total += alpha / 2 * y**2 + (1 - alpha) / 2 * x**2 - y
        assert got == pytest.approx(total / min(n, m), rel=1e-8)
    best = min(found.found["scores"], key=found.found["scores"].get)
    assert (found.found["sigma"], found.found["lambda"]) == best


def test_rulsif_is_bounded_and_ulsif_is_its_end():
    source, target = toy(200)
    how = dict(sigmas=(0.4,), lambdas=(1e-3,))
    plain, none = ulsif(source, target, **how), rulsif(source, target, alpha=0.0, **how)
    np.testing.assert_array_equal(plain.values, none.values)
    half = rulsif(source, target, alpha=0.5, **how)
    assert half.values.max() < 2.2 < plain.values.max()


def test_propensity_corrects_for_the_numbers_of_rows():
    """Ten times the target rows are the same weights, not ten times them."""
    source, target = toy(300, more=30)
    many = toy(10, 7, more=3000)[1]
    few = propensity(source, target, quadratic=True).values
    more = propensity(source, many, quadratic=True).values
    assert few.mean() == pytest.approx(1, abs=0.25)
    assert more.mean() == pytest.approx(1, abs=0.25)
    odds = propensity(source, many, quadratic=True, odds=1.0).values
    np.testing.assert_allclose(odds, more * 10, rtol=1e-6)


def test_propensity_is_scikit_learn_s_regression():
    """One strength, not calibrated: rows are scored as the folds' classifiers do."""
    source, target = toy(50, more=40)
    found = propensity(source, target, strengths=(0.01,), calibrate=False, seed=2)
    rows = np.concatenate([source, target])
    side = np.repeat([0, 1], [50, 40])
    model = LogisticRegression(C=2 / (0.01 * 90), tol=1e-10)
    z = (rows - rows.mean()) / rows.std()
    log_odds = model.fit(z, side).decision_function(z[:50])
    np.testing.assert_allclose(
        np.log(found.ratio(source)), log_odds - np.log(0.8), atol=1e-3
    )
    assert not np.allclose(found.values, found.ratio(source), rtol=1e-3)


def test_sides_that_cannot_be_told_apart_have_no_skill():
    rng = np.random.default_rng(0)
    alike = propensity(*rng.normal(size=(2, 200, 20)))
    assert abs(alike.found["skill"]) < 0.02
    assert np.std(alike.values) < 0.3
    apart = propensity(rng.normal(size=(100, 3)), rng.normal(2, 1, (100, 3)))
    assert apart.found["skill"] > 0.5


def test_calibration_takes_back_what_is_too_sure():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=4000)
    truth = (rng.uniform(size=4000) < 1 / (1 + np.exp(-odds))).astype(int)
    line = platt(5 * odds + 2, truth)
    assert line.slope == pytest.approx(0.2, rel=0.1)
    assert line.shift == pytest.approx(-0.4, abs=0.1)
    worst = platt(-odds, truth)
    assert worst.slope == 0
    assert log_loss(worst(odds), truth) == pytest.approx(np.log(2), abs=1e-2)
    apart = platt(np.r_[-1.0, -1, 1, 1], np.r_[0, 0, 1, 1])
    assert 0 < apart.slope < 10


def test_neighbours_are_counted():
    source, target = toy(15, more=11)
    counts = np.zeros(15)
    for t in target:
        far = ((source - t) ** 2).sum(1)
        for i in sorted(range(15), key=lambda i: far[i])[:3]:
            counts[i] += 1
    found = nearest(source, target, k=3)
    np.testing.assert_array_equal(found.found["counts"], counts)
    np.testing.assert_allclose(found.values, counts / counts.mean())
    smooth = nearest(source, target, k=3, smooth=1.0).values
    np.testing.assert_allclose(smooth, (counts + 1) / (counts + 1).mean())


@pytest.mark.parametrize(
    "method, wrong, match",
    [
        (kliep, dict(sigmas=()), "sigmas is empty"),
        (kliep, dict(sigmas=(0.0,)), "sigma is 0.0"),
        (kliep, dict(folds=99), "99 folds of 20"),
        (ulsif, dict(lambdas=()), "lambdas are empty"),
        (rulsif, dict(alpha=1.0), "alpha is 1.0"),
        (propensity, dict(folds=1), "folds is 1"),
        (propensity, dict(odds=0.0), "odds is 0.0"),
        (nearest, dict(k=21), "there are 20 source rows"),
        (nearest, dict(smooth=-1.0), "smooth is -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(method, wrong, match):
    with pytest.raises(ValueError, match=match):
        method(*toy(20), **wrong)


def test_centres_far_from_every_source_row_are_left_out():
    source, target = toy(20)
    target[0] = 500.0
    found = kliep(source, target, sigmas=(0.3,))
    assert len(found.ratio.centres) == 19
    assert np.isfinite(found.values).all()
    with pytest.raises(ValueError, match="no source row is near"):
        kliep(source, np.full((5, 1), 500.0), sigmas=(0.3,))
