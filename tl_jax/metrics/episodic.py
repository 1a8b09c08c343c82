"""Scores of few-shot learning: one number an episode."""

import numpy as np

from tl_jax.metrics.task import negative_log_likelihood

IGNORED = -100
"""The label of queries that only fill an episode up."""


def accuracies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of right queries of each episode. logits [N Q C], labels [N Q] -> [N].

    Queries with the label -100 do not count; an episode of nothing else is NaN.
    """
    asked = labels != IGNORED
    right = (logits.argmax(-1) == labels) & asked
    with np.errstate(invalid="ignore"):
        return right.sum(-1) / asked.sum(-1)


def mean_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of `accuracies` over episodes."""
    return float(accuracies(logits, labels).mean())


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of -log softmax(logits)[label] of each episode, in float64.

    logits [N Q C], labels [N Q] -> [N]. Queries with the label -100 do not count; an
    episode of nothing else is NaN. One episode is looked at after another: a head of
    all training classes is wide.
    """
    found = np.full(len(labels), np.nan)
    for i, (own, of) in enumerate(zip(logits, labels, strict=True)):
        asked = of != IGNORED
        if asked.any():
            found[i] = negative_log_likelihood(own[asked], of[asked])
    return found


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of `losses` over episodes."""
    return float(losses(logits, labels).mean())


def errors(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean squared error of each episode, in float64. [N Q D], [N Q D] -> [N].

    Infinite where a value is no number: steps that overshoot end there, and a median
    over episodes still is one.
    """
    wide = np.asarray(values, np.float64) - np.asarray(labels, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.square(wide).reshape(len(wide), -1).mean(1)
    return np.where(np.isnan(found), np.inf, found)


def diverged(values: np.ndarray, labels: np.ndarray, factor: float = 10.0):
    """Whether an episode's error is no number, or `factor` times that of saying 0.

    [N Q D], [N Q D] -> [N]. Gradient steps that overshoot end there; the mean over
    episodes is theirs alone then, so a median belongs beside it.
    """
    own = errors(values, labels)
    none = errors(np.zeros_like(labels), labels)
    return ~np.isfinite(own) | (own > factor * np.maximum(none, 1e-12))
