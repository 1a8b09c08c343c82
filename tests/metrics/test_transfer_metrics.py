import itertools

import numpy as np
import pytest
from scipy import stats

from tl_jax.metrics.transfer import negative_transfer, transfer_ratio

RNG = np.random.default_rng(0)


def test_ratio_by_hand():
    assert transfer_ratio(0.9, 0.6) == pytest.approx(1.5)
    assert transfer_ratio([0.8, 1.0], [0.5, 0.7]) == pytest.approx(1.5)
    with pytest.raises(ValueError, match="expected above 0"):
        transfer_ratio(0.5, 0.0)


def test_identical_scores_differ_in_nothing():
    scores = RNG.integers(2, size=(3, 50))
    got = negative_transfer(scores, scores)
    assert got == ("no difference", 1.0, 0.0, 1.0)


def test_three_examples_by_hand():
    # 2 of 8 sign patterns reach a sum of 3
    got = negative_transfer([1, 1, 1], [0, 0, 0])
    assert got.verdict == "no difference"
    assert got.p == 0.25
    assert got.difference == 1.0
    assert np.isnan(got.p_seeds)


def test_equals_all_sign_patterns_of_real_differences():
    a, b = RNG.random((2, 4, 9))
    d = (a - b).mean(0)
    sums = [abs(np.dot(s, d)) for s in itertools.product([-1, 1], repeat=9)]
    want = np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)
    assert negative_transfer(a, b).p == pytest.approx(want)


def test_one_seed_of_right_and_wrong_is_mcnemars_exact_test():
    a = np.r_[np.ones(30), np.zeros(12), np.ones(100)]
    b = np.r_[np.zeros(30), np.ones(12), np.ones(100)]
    want = stats.binomtest(12, 42).pvalue
    assert negative_transfer(a, b, resamples=200_000).p == pytest.approx(want, rel=0.05)


def test_drawn_patterns_agree_with_all_of_them():
    a, b = RNG.random((2, 5, 14))
    exact = negative_transfer(a, b).p
    # two examples with next to no difference take it over the limit
    more = np.concatenate([a, np.full((5, 2), 1e-9)], 1)
    less = np.concatenate([b, np.zeros((5, 2))], 1)
    drawn = negative_transfer(more, less, resamples=100_000).p
    assert drawn == pytest.approx(exact, abs=0.01)


def test_verdicts_have_the_sign_of_the_difference():
    good = RNG.random((3, 400)) < 0.9
    bad = RNG.random((3, 400)) < 0.6
    up, down = negative_transfer(good, bad), negative_transfer(bad, good)
    assert (up.verdict, down.verdict) == ("positive", "negative")
    assert up.difference == -down.difference
    assert up.p < 0.001
    assert up == negative_transfer(good, bad)


def test_chance_is_called_a_difference_about_as_often_as_the_level_says():
    draws = RNG.random((200, 2, 60)) < 0.7
    calls = [negative_transfer(a, b, resamples=500).p < 0.05 for a, b in draws]
    assert np.mean(calls) < 0.1


def test_the_test_over_seeds_is_the_paired_t_test():
    a, b = RNG.random((2, 5, 40))
    want = stats.ttest_rel(a.mean(1), b.mean(1)).pvalue
    assert negative_transfer(a, b).p_seeds == pytest.approx(want)
    assert negative_transfer(np.ones((2, 3)), np.zeros((2, 3))).p_seeds == 0.0


def test_bad_scores_raise():
    with pytest.raises(ValueError, match=r"\(3,\), scratch_scores \(2,\)"):
        negative_transfer([1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match="not finite"):
        negative_transfer([np.nan], [1.0])
