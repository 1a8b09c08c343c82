"""Label shift by both estimators, and reports of weights."""

import numpy as np
import pytest

from tl_jax.estimators.weighting import (
    bbse,
    clip,
    describe,
    effective_size,
    em,
    normalise,
)

SOURCE, TARGET = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])


def draw(prior, rows, seed):
    """(probabilities under `SOURCE`, labels) of three overlapping normals."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, rows, p=prior)
    x = rng.normal(labels * 1.5, 1)
    joint = SOURCE * np.exp(-((x[:, None] - 1.5 * np.arange(3)) ** 2) / 2)
    return joint / joint.sum(1, keepdims=True), labels


def test_both_find_the_target_s_shares():
    p, labels = draw(SOURCE, 20_000, 0)
    q, _ = draw(TARGET, 20_000, 1)
    for found in (bbse(p, labels, q), bbse(p, labels, q, hard=True), em(q, SOURCE)):
        np.testing.assert_allclose(found.prior, TARGET, atol=0.03)
        np.testing.assert_allclose(found.ratio, TARGET / SOURCE, rtol=0.15)
        assert found.of([2, 0])[0] == found.ratio[2]


def test_no_shift_weighs_one():
    p, labels = draw(SOURCE, 5000, 0)
    np.testing.assert_allclose(bbse(p, labels, p).ratio, 1.0, atol=1e-9)
    shares = p.mean(0)
    np.testing.assert_allclose(em(p, shares).ratio, 1.0, atol=1e-6)


def test_bbse_is_the_loop():
    p, labels = draw(SOURCE, 60, 0)
    q, _ = draw(TARGET, 40, 1)
    A = np.zeros((3, 3))
    for row, label in zip(p, labels, strict=True):
        for i in range(3):
            A[i, label] += row[i] / 60
    want = np.maximum(np.linalg.solve(A, q.mean(0)), 0)
    found = bbse(p, labels, q)
    np.testing.assert_allclose(found.ratio, want, rtol=1e-10)
    assert found.found["condition"] == pytest.approx(np.linalg.cond(A))


def test_em_is_the_loop_and_ends_at_the_most_likely():
    q, _ = draw(TARGET, 50, 1)
    shares = SOURCE.copy()
    for _ in range(7):
        new = np.zeros(3)
        for row in q:
            posterior = shares / SOURCE * row
            new += posterior / posterior.sum() / 50
        shares = new
    np.testing.assert_allclose(em(q, SOURCE, steps=7).prior, shares, rtol=1e-10)
    found = em(q, SOURCE)
    assert found.found["converged"]

    def likelihood(prior):
        return np.log(q / SOURCE @ prior).mean()

    for other in np.random.default_rng(0).dirichlet(np.ones(3), 100):
        assert likelihood(other) <= likelihood(found.prior) + 2e-9


def test_what_is_no_label_shift_is_refused():
    p, labels = draw(SOURCE, 60, 0)
    for match, call in (
        ("class 2 has no source row", lambda: bbse(p, labels % 2, p)),
        ("expected probabilities", lambda: bbse(2 * p, labels, p)),
        ("60 source rows", lambda: bbse(p, labels[:50], p)),
        ("does not tell", lambda: bbse(np.full((60, 3), 1 / 3), labels, p)),
        ("target rows have 2", lambda: bbse(p, labels, np.full((3, 2), 0.5))),
        ("prior adds up", lambda: em(p, SOURCE * 2)),
        ("positive shares", lambda: em(p, [0.5, 0.5])),
        ("row 1 is 3", lambda: bbse(p, labels, p).of([0, 3])),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_a_report_counts():
    values = np.array([0.0, 1, 1, 2, 6])
    report = describe(values, bins=3)
    assert report.rows == 5
    assert report.effective == pytest.approx(10**2 / 42)
    assert report.mean == 2
    assert report.zeros == 1
    assert report.quantiles[3] == 0.5  # the median over the mean
    assert report.quantiles[-1] == 3
    assert report.heaviest == 0.6
    assert report.counts == (3, 1, 1)
    assert report.edges == (0, 1, 2, 3)


def test_the_effective_size_runs_from_one_to_all():
    assert effective_size(np.full(7, 1e-200)) == pytest.approx(7)
    assert effective_size([0, 0, 3.0]) == 1
    values = np.random.default_rng(0).exponential(size=50)
    assert effective_size(1e6 * values) == pytest.approx(effective_size(values))


def test_clipping_says_what_it_cut():
    cut = clip([1.0, 1, 1, 5], 1.5)
    np.testing.assert_array_equal(cut.values, [1, 1, 1, 3])
    assert (cut.rows, cut.lost) == (1, 0.25)
    np.testing.assert_allclose(normalise(cut.values).mean(), 1)
    assert clip([1.0, 2], 2).rows == 0
    for wrong in ([-1.0, 2], [0.0, 0], [np.nan, 1], []):
        with pytest.raises(ValueError):
            describe(wrong)
    with pytest.raises(ValueError, match="most is 0.5"):
        clip([1.0], 0.5)
