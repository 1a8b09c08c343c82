"""Scores of episodes against loops."""

import numpy as np
import pytest

from tl_jax.metrics.episodic import (
    IGNORED,
    accuracies,
    diverged,
    errors,
    losses,
    mean_accuracy,
    mean_loss,
)
from tl_jax.metrics.intervals import bootstrap


def test_accuracies_count_the_queries_that_were_asked():
    logits = np.array([[[2, 1], [0, 3], [1, 0]], [[1, 0], [1, 0], [1, 0]]], float)
    labels = np.array([[0, 0, IGNORED], [1, 1, 1]])
    np.testing.assert_array_equal(accuracies(logits, labels), [1 / 2, 0])


def test_an_episode_without_queries_has_no_accuracy():
    found = accuracies(np.zeros((2, 2, 3)), np.array([[IGNORED] * 2, [0, 1]]))
    assert np.isnan(found[0])
    assert found[1] == 1 / 2  # the first of equals


def test_errors_are_means_over_queries_and_numbers():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(2, 3, 4, 2))
    want = [
        sum((a - b) ** 2 for a, b in zip(v.ravel(), y.ravel(), strict=True)) / 8
        for v, y in zip(values, labels, strict=True)
    ]
    np.testing.assert_allclose(errors(values, labels), want, rtol=1e-12)


def test_errors_are_summed_in_float64():
    """Squares that float32 can't hold are numbers still."""
    values = np.full((1, 2, 1), 1e25, np.float32)
    np.testing.assert_allclose(errors(values, np.zeros_like(values)), 1e50, rtol=1e-6)


def test_an_episode_diverged_that_is_much_worse_than_nothing():
    labels = np.array([1.0, 1, 1, 1, 0]).reshape(5, 1, 1)
    off = np.array([0.0, 4.4, 4.5, np.nan, 1e-3]).reshape(5, 1, 1)
    found = diverged(labels + off, labels)
    want = [False, True, True, True, True]
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(diverged(labels + off, labels, 20.0)[:3], [0, 0, 1])


def test_losses_are_means_over_the_queries_that_were_asked():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 4, 5)), rng.integers(0, 5, (3, 4))
    labels[0, 2:], labels[1] = IGNORED, IGNORED
    found = losses(logits, labels)
    for i in (0, 2):
        own = [
            np.log(np.exp(logits[i, q]).sum()) - logits[i, q, labels[i, q]]
            for q in range(4)
            if labels[i, q] != IGNORED
        ]
        assert found[i] == pytest.approx(np.mean(own))
    assert np.isnan(found[1])
    assert mean_loss(logits[::2], labels[::2]) == pytest.approx(found[::2].mean())


@pytest.mark.parametrize("metric", [mean_accuracy, mean_loss])
def test_their_resamples_are_of_whole_episodes(metric):
    """The loop over resamples, and the short cut by an episode's value, are one."""
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(6, 4, 3)), rng.integers(0, 3, (6, 4))
    how = dict(seed=3, resamples=50)
    slow = bootstrap(lambda p, y: metric(p, y), logits, labels, **how)
    np.testing.assert_allclose(bootstrap(metric, logits, labels, **how), slow)
