import functools

import numpy as np
import pytest
from scipy import stats

from tl_jax.metrics import episodic, intervals, sequence, task
from tl_jax.metrics.intervals import bootstrap

RNG = np.random.default_rng(0)
LABELS = RNG.integers(3, size=200)
IDS = np.where(RNG.random(200) < 0.8, LABELS, (LABELS + 1) % 3)


def test_equals_a_loop_that_resamples():
    got = bootstrap(task.accuracy, IDS, LABELS, seed=3, resamples=50)
    rng = np.random.default_rng(3)
    draws = []
    for _ in range(50):
        rows = rng.integers(200, size=200)
        draws.append(np.mean(IDS[rows] == LABELS[rows]))
    assert got.value == np.mean(IDS == LABELS)
    assert (got.low, got.high) == tuple(np.quantile(draws, [0.025, 0.975]))


def test_means_need_no_loop_and_give_the_same():
    fast = bootstrap(task.accuracy, IDS, LABELS, seed=1)
    slow = bootstrap(lambda p, y: task.accuracy(p, y), IDS, LABELS, seed=1)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)


def test_every_known_mean_is_the_mean_of_its_values():
    logits = RNG.normal(size=(200, 3))
    episodes = logits.reshape(20, 10, 3), LABELS.reshape(20, 10)
    given = {task.negative_log_likelihood: (logits, LABELS)}
    given |= dict.fromkeys((episodic.mean_accuracy, episodic.mean_loss), episodes)
    for metric, values in intervals.MEANS.items():
        inputs = given.get(metric, (IDS, LABELS))
        assert metric(*inputs) == pytest.approx(np.mean(values(*inputs)))


def test_is_close_to_the_normal_interval_of_a_share():
    got = bootstrap(task.accuracy, IDS, LABELS, seed=0, resamples=4000)
    half = stats.norm.ppf(0.975) * np.sqrt(got.value * (1 - got.value) / 200)
    np.testing.assert_allclose(got.low, got.value - half, atol=0.006)
    np.testing.assert_allclose(got.high, got.value + half, atol=0.006)


def test_the_seed_decides_and_the_level_widens():
    f1 = functools.partial(task.macro_f1, classes=3)
    run = functools.partial(bootstrap, f1, IDS, LABELS, resamples=200)
    assert run(seed=0) == run(seed=0)
    assert run(seed=0) != run(seed=1)
    assert run(seed=0, level=0.5).low > run(seed=0, level=0.99).low


def test_lists_of_strings_are_resampled_too():
    got = bootstrap(
        sequence.exact_match, ["a", "b c"], [["a", "x"], ["b"]], seed=0, resamples=50
    )
    assert got == (0.5, 0.0, 1.0)


def test_resamples_without_a_value_are_left_out():
    got = bootstrap(task.pearson, [1.0, 2.0], [3.0, 5.0], seed=0, resamples=50)
    np.testing.assert_allclose(got, 1.0)
    with pytest.raises(ValueError, match="NaN in every resample"):
        bootstrap(task.pearson, [1.0, 1.0], [3.0, 5.0], seed=0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": LABELS[:-1]}, "200 predictions for 199"),
        ({"level": 95}, "level is 95"),
        ({"resamples": 0}, "resamples is 0"),
    ],
)
def test_bad_input_raises(change, message):
    arguments = {"predictions": IDS, "labels": LABELS, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        bootstrap(task.accuracy, **arguments)
