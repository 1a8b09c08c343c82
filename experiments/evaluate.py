"""Evaluation: predictions on a split and what they score. Sees only `predict`."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from experiments.tasks import Task
from tl_jax.metrics.intervals import bootstrap
from tl_jax.metrics.task import confusion_matrix
from tl_jax.types import Stream

Predict = Callable[[Stream], tuple[Any, Stream]]
"""Stream of this process -> logits and the stream of all processes, on the devices."""


class Predicted(NamedTuple):
    """Logits and labels of a split, in the order of its rows."""

    index: np.ndarray
    logits: np.ndarray
    labels: np.ndarray | None


def predict_all(predict: Predict, streams: Iterable[Stream]) -> Predicted:
    """Run every batch, drop the padding, order by row.

    Values over tokens are padded to the longest batch: labels by -100, logits by
    -1e9, which stands at every token of padding.
    """
    index, logits, labels = [], [], []
    waiting = None
    for stream in [*streams, None]:
        device = None if stream is None else predict(stream)
        if waiting is not None:
            found, seen = waiting
            real = np.asarray(seen["weight"]) > 0
            index.append(np.asarray(seen["index"])[real])
            logits.append(_shown(np.asarray(found), seen["inputs"].get("mask"))[real])
            if seen.get("labels") is not None:
                labels.append(np.asarray(seen["labels"])[real])
        waiting = device
    order = np.argsort(np.concatenate(index), kind="stable")
    return Predicted(
        np.concatenate(index)[order],
        _join(logits, -1e9)[order],
        _join(labels, -100)[order] if labels else None,
    )


def _shown(logits: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Logits [B T C] with -1e9 in the padding of `mask` [B T]; others as they are."""
    if logits.ndim < 3 or mask is None:
        return logits
    return np.where(np.asarray(mask, bool)[..., None], logits, np.float32(-1e9))


def _join(parts: list[np.ndarray], fill: float) -> np.ndarray:
    """Concatenate; a second axis of tokens may differ in length."""
    longest = max((part.shape[1] for part in parts if part.ndim > 1), default=0)
    padded = [
        np.pad(
            part,
            [(0, 0), (0, longest - part.shape[1])] + [(0, 0)] * (part.ndim - 2),
            constant_values=fill,
        )
        if part.ndim > 1
        else part
        for part in parts
    ]
    return np.concatenate(padded)


def score(task: Task, found: Predicted) -> dict[str, float]:
    """Every metric of the task."""
    return {
        name: float(metric(found.logits, found.labels))
        for name, metric in task.metrics.items()
    }


def intervals(task: Task, found: Predicted, seed: int, resamples: int) -> dict:
    """95 % bootstrap interval of every metric, by resampling examples.

    NaN where the metric itself is, as a correlation with constant predictions.
    """
    table = {}
    for name, metric in task.metrics.items():
        if math.isnan(metric(found.logits, found.labels)):
            table[name] = [math.nan, math.nan]
            continue
        drawn = bootstrap(
            metric, found.logits, found.labels, seed=seed, resamples=resamples
        )
        table[name] = [drawn.low, drawn.high]
    return table


def confusion(task: Task, found: Predicted, classes: int) -> list | None:
    """Rows are labels, columns predictions; for one class an example."""
    if task.name != "classification":
        return None
    return confusion_matrix(found.logits, found.labels, classes=classes).tolist()
