import math

import numpy as np
import pytest
from scipy import stats

from tl_jax.metrics.ranking import agreement, disagreement, kendall, ranks, spearman

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
def test_equals_scipy(ties):
    for _ in range(5):
        a, b = RNG.normal(size=(2, 13))
        if ties:
            a, b = a.round(), b.round()
        assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
        np.testing.assert_array_equal(ranks(a), stats.rankdata(a))


def test_nothing_to_rank():
    assert math.isnan(kendall([1, 1], [1, 2]))
    assert math.isnan(spearman([1, 2], [2, 2]))


def test_agreement_points_the_right_way():
    truth = [0.9, 0.5, 0.7, 0.6]
    found = agreement([0.1, 0.5, 0.3, 0.4], truth, higher_is_better=False)
    assert (found.kendall, found.spearman) == (pytest.approx(1), pytest.approx(1))
    assert (found.chosen, found.regret, found.models) == (0, 0, 4)
    other = agreement([0.1, 0.5, 0.3, 0.4], truth, higher_is_better=True)
    assert other.spearman == pytest.approx(-1)
    assert (other.chosen, other.regret) == (1, pytest.approx(0.4))


def test_the_interval_is_a_bootstrap_over_models():
    a, b = RNG.normal(size=(2, 12))
    b = a + 0.7 * b
    found = agreement(a, b, higher_is_better=True, seed=3, resamples=200)
    rng, draws = np.random.default_rng(3), []
    for _ in range(200):
        rows = rng.integers(12, size=12)
        draws.append(stats.spearmanr(a[rows], b[rows]).statistic)
    want = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], want, rtol=1e-9)
    assert found.low < found.spearman < found.high


UP = {"a": True, "b": True, "c": False}


def test_scores_that_agree_do_not_warn():
    same = {"a": [1, 2, 3], "b": [10, 20, 30], "c": [3, 2, 1]}
    found = disagreement(same, ["x", "y", "z"], higher_is_better=UP)
    assert (found.tau, found.warning) == (pytest.approx(1), None)
    assert found.winners == {"z": ("a", "b", "c")}


def test_scores_that_contradict_each_other_warn():
    apart = {"a": [1, 2, 3], "b": [30, 20, 10], "c": [3, 2, 1]}
    found = disagreement(apart, ["x", "y", "z"], higher_is_better=UP)
    assert found.tau == pytest.approx(-1 / 3)
    assert found.winners == {"z": ("a", "c"), "x": ("b",)}
    assert "contradict each other" in found.warning
    assert "z by a, c; x by b" in found.warning


def test_another_winner_alone_warns_more_gently():
    apart = {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3, 5, 4]}
    found = disagreement(apart, list("vwxyz"), higher_is_better=UP)
    assert found.tau == pytest.approx(0.8)
    assert "agree in part" in found.warning


def test_what_says_nothing_is_left_out():
    flat = {"a": [1, 1, 1], "b": [1, 2, 3], "c": [math.nan, 1, 2]}
    found = disagreement(flat, ["x", "y", "z"], higher_is_better=UP)
    assert found.winners == {"z": ("b",)}
    assert math.isnan(found.tau)
    assert found.warning is None


def test_bad_input():
    with pytest.raises(ValueError, match="a: 2 scores for 3 models"):
        disagreement({"a": [1, 2]}, ["x", "y", "z"], higher_is_better=UP)
    with pytest.raises(ValueError, match="says nothing of 'q'"):
        disagreement({"q": [1, 2]}, ["x", "y"], higher_is_better=UP)
    with pytest.raises(ValueError, match="is NaN"):
        kendall([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match=r"\(1,\) and \(1,\)"):
        agreement([1], [1], higher_is_better=True)
