"""Bootstrap intervals for a metric on a test set."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.metrics import episodic, task

Metric = Callable[..., float]

MEANS: Mapping[Metric, Callable[..., np.ndarray]] = MappingProxyType(
    {
        task.accuracy: task.correct,
        task.negative_log_likelihood: task.negative_log_likelihoods,
        task.mse: task.squared_errors,
        task.mae: task.absolute_errors,
        episodic.mean_accuracy: episodic.accuracies,
        episodic.mean_loss: episodic.losses,
    }
)
"""Metrics that are means, with the values they are means of: no loop is needed."""


class Interval(NamedTuple):
    """A metric with the interval of its resamples."""

    value: float
    low: float
    high: float


def bootstrap(
    metric: Metric,
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval from examples drawn with replacement (Efron, 1979).

    metric: `(predictions, labels) -> float`. predictions, labels: arrays or lists with
    one entry an example. Resamples in which the metric is NaN are left out.

    It covers the choice of test examples, not the seeds of training. Raises
    ValueError for lengths that differ, and if the metric is NaN in all resamples.
    """
    count = len(labels)
    if len(predictions) != count or not count:
        raise ValueError(f"{len(predictions)} predictions for {count} labels")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected between 0 and 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}, expected at least 1")
    rng = np.random.default_rng(seed)
    draws = np.empty(resamples)
    values = MEANS[metric](predictions, labels) if metric in MEANS else None
    for draw in range(resamples):
        rows = rng.integers(count, size=count)
        if values is None:
            draws[draw] = metric(_take(predictions, rows), _take(labels, rows))
        else:
            draws[draw] = values[rows].mean()
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        raise ValueError("the metric is NaN in every resample")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(metric(predictions, labels)), float(low), float(high))


def _take(examples: ArrayLike, rows: np.ndarray) -> ArrayLike:
    """The examples of `rows`, of an array or of a list of anything."""
    if isinstance(examples, list | tuple):
        return [examples[row] for row in rows]
    return np.asarray(examples)[rows]
