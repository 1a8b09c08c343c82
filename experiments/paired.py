"""Two strategies on the same test rows and seeds, judged row by row."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.metrics.transfer import Verdict, negative_transfer, transfer_ratio

PREDICTIONS = "predictions.npz"
IGNORED = -100
"""The label of tokens that nobody scores."""


class NotComparable(ValueError):
    """Two sets of predictions that are not of the same rows, or can't be read."""


class Comparison(NamedTuple):
    """The outcome of one strategy against another, or why there is none."""

    verdict: Verdict | None
    why: str = ""


def ratio(ours: ArrayLike, theirs: ArrayLike, higher: bool = True) -> float | None:
    """Score over reference score; the other way round for errors, so above 1 helps.

    None where the quotient means nothing: a reference of zero or below.
    """
    try:
        found = transfer_ratio(*((ours, theirs) if higher else (theirs, ours)))
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def compare(task: str, pairs: Sequence[tuple[Path, Path]]) -> Comparison:
    """Paired test over rows. pairs: the run folders of (strategy, reference) by seed.

    A row's score is what `ROW_SCORES` says of the task. Where predictions lack or are
    of other rows, there is no verdict, and `why` says so.
    """
    if task not in ROW_SCORES:
        return Comparison(None, f"no score of single rows for task {task!r}")
    try:
        found = [_aligned(ROW_SCORES[task].score, *pair) for pair in pairs]
        index, ours, theirs = zip(*found, strict=True)
        if not all(np.array_equal(index[0], other) for other in index):
            raise NotComparable("its seeds are not of the same test rows")
        ours, theirs = np.stack(ours), np.stack(theirs)
        return Comparison(negative_transfer(ours, theirs))
    except ValueError as error:
        return Comparison(None, str(error))


def _right(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1 where a prediction is right; the share of right ones over further axes."""
    right = (labels == predictions).astype(np.float64)
    return right.reshape(len(right), -1).mean(1)


def _right_tokens(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Share of right tokens among those with a label; a row without any is right."""
    asked = labels != IGNORED
    wrong = (labels != predictions) & asked
    return 1.0 - wrong.sum(-1) / np.maximum(asked.sum(-1), 1)


def _right_span(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1 where start and end are both right."""
    return (labels == predictions).all(-1).astype(np.float64)


def _right_answers(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """1 where every token of an answer is right, its end among them."""
    right = (labels == predictions) | (labels == IGNORED)
    return right.all(-1).astype(np.float64)


def _minus_squared_error(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Higher is better: minus the squared error, averaged over further axes."""
    error = np.asarray(predictions, np.float64) - np.asarray(labels, np.float64)
    return -(error**2).reshape(len(error), -1).mean(1)


class RowScore(NamedTuple):
    """How one test row is judged."""

    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """labels, predictions -> [N]; higher is better."""
    words: str


ROW_SCORES = {
    "classification": RowScore(_right, "right predictions"),
    "multilabel": RowScore(_right, "the share of right labels"),
    "tokens": RowScore(_right_tokens, "the share of right tokens"),
    "span": RowScore(_right_span, "right spans"),
    "seq2seq": RowScore(_right_answers, "answers right in every token"),
    "regression": RowScore(_minus_squared_error, "the squared error"),
    "fewshot": RowScore(_right_tokens, "the share of right queries of an episode"),
    "fewshot_regression": RowScore(_minus_squared_error, "an episode's squared error"),
}
"""Task -> how its rows are judged."""


def _read(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """index, labels and predictions of a run, by ascending index."""
    path = run / PREDICTIONS
    if not path.is_file():
        raise NotComparable(f"{path.parent.parent.name}/{run.name} has no predictions")
    where = f"{run.parent.name}/{run.name}/{PREDICTIONS}"
    try:
        with np.load(path, allow_pickle=False) as file:
            index, labels, found = (
                file[name] for name in ("index", "labels", "predictions")
            )
    except (KeyError, OSError, ValueError) as error:
        raise NotComparable(f"{where} can't be read: {error}") from None
    shapes = index.shape, labels.shape, found.shape
    if index.ndim != 1 or labels.shape != found.shape or len(labels) != len(index):
        raise NotComparable(f"{where}: shapes of index, labels, predictions {shapes}")
    if len(np.unique(index)) != len(index):
        raise NotComparable(f"{where} names a row twice")
    order = np.argsort(index)
    return index[order], labels[order], found[order]


def _aligned(
    row_score: Callable, ours: Path, theirs: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [N] and both runs' scores of them [N], in the same order."""
    index, labels, predictions = _read(ours)
    other, other_labels, other_predictions = _read(theirs)
    who = f"{ours.parent.name} and {theirs.parent.name}, seed {ours.name}"
    if not np.array_equal(index, other):
        raise NotComparable(f"{who}: not the same test rows")
    if not np.array_equal(labels, other_labels, equal_nan=labels.dtype.kind == "f"):
        raise NotComparable(f"{who}: labels of the same rows differ")
    scores = row_score(labels, predictions), row_score(labels, other_predictions)
    return index, *scores
