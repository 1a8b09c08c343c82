"""How well predictions fit labels: plain NumPy, one number each.

Class predictions are ids [N] or logits [N C]; whole sets are judged, never batches.
Class labels are ids [N], or float shares [N C] that count as their largest class.
"""

import numpy as np
from numpy.typing import ArrayLike


def _pair(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of one shape, not empty."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape:
        raise ValueError(
            f"predictions have shape {predictions.shape}, labels {labels.shape}"
        )
    if not labels.size:
        raise ValueError("there are no examples")
    return predictions, labels


def _soft(labels: np.ndarray) -> bool:
    """True for float shares of classes, [... C]."""
    return labels.ndim > 1 and labels.dtype.kind == "f"


def _ids(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Class ids of both; logits and float shares of classes have one axis more."""
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if _soft(labels):
        if predictions.ndim == labels.ndim:
            _pair(predictions, labels)
        labels = labels.argmax(-1)
    if predictions.ndim == labels.ndim + 1:
        predictions = predictions.argmax(-1)
    return _pair(predictions, labels)


def correct(predictions: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """1 where an example is right, else 0. ids [N] or logits [N C], [N] -> [N]."""
    predictions, labels = _ids(predictions, labels)
    return (predictions == labels).astype(np.float64)


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Share of right examples. ids [N] or logits [N C], labels [N]."""
    return float(correct(predictions, labels).mean())


def confusion_matrix(
    predictions: ArrayLike, labels: ArrayLike, *, classes: int
) -> np.ndarray:
    """Counts by label (rows) and prediction (columns) -> [C C] int.

    Raises ValueError for an id outside 0..classes-1.
    """
    predictions, labels = _ids(predictions, labels)
    for name, ids in (("prediction", predictions), ("label", labels)):
        wrong = np.flatnonzero((ids < 0) | (ids >= classes))
        if len(wrong):
            raise ValueError(
                f"{name} {ids[wrong[0]]} of example {wrong[0]} is outside "
                f"0..{classes - 1}"
            )
    cells = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(cells.ravel(), minlength=classes**2).reshape(classes, classes)


def _f1(hits: np.ndarray, predicted: np.ndarray, present: np.ndarray) -> np.ndarray:
    """2 hits / (predicted + present), 0 where there is nothing of either."""
    return 2 * hits / np.maximum(predicted + present, 1)


def macro_f1(
    predictions: ArrayLike, labels: ArrayLike, *, classes: int | None = None
) -> float:
    """F1 averaged over classes, each counting alike.

    Over the classes that occur in labels or predictions; with `classes`, over all of
    0..classes-1, where one that never occurs counts 0 (scikit-learn's convention).
    """
    predictions, labels = _ids(predictions, labels)
    known, ids = np.unique(np.stack([predictions, labels]), return_inverse=True)
    predictions, labels = ids.reshape(2, -1)
    table = confusion_matrix(predictions, labels, classes=len(known))
    if classes is not None and ((known < 0) | (known >= classes)).any():
        raise ValueError(f"ids {known.tolist()} are not all in 0..{classes - 1}")
    scores = _f1(table.diagonal(), table.sum(0), table.sum(1))
    return float(scores.sum() / (len(known) if classes is None else classes))


def negative_log_likelihoods(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """-sum_c y[c] log softmax(logits)[c] in float64, y one-hot for ids.

    logits [N C], labels [N] or float shares [N C] -> [N].
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    _ids(logits, labels)
    shifted = logits - logits.max(-1, keepdims=True)
    total = np.log(np.exp(shifted).sum(-1))
    if _soft(labels):
        shares = labels.astype(np.float64)
        return shares.sum(-1) * total - (shares * shifted).sum(-1)
    if labels.min() < 0 or labels.max() >= logits.shape[-1]:
        raise ValueError(f"a label is outside 0..{logits.shape[-1] - 1}")
    chosen = np.take_along_axis(shifted, labels[:, None].astype(np.int64), -1)[:, 0]
    return total - chosen


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean of -log softmax(logits)[label]. logits [N C], labels [N]."""
    return float(negative_log_likelihoods(logits, labels).mean())


def squared_errors(predictions: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """(prediction - target)^2. [N], [N] -> [N] float64."""
    predictions, targets = _numbers(predictions, targets)
    return (predictions - targets) ** 2


def absolute_errors(predictions: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """|prediction - target|. [N], [N] -> [N] float64."""
    predictions, targets = _numbers(predictions, targets)
    return np.abs(predictions - targets)


def mse(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared error. predictions [N] or [N 1], targets [N]."""
    return float(squared_errors(predictions, targets).mean())


def mae(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Mean absolute error. predictions [N] or [N 1], targets [N]."""
    return float(absolute_errors(predictions, targets).mean())


def _numbers(
    predictions: ArrayLike, targets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """float64 of both; predictions [N 1] lose their last axis."""
    predictions = np.asarray(predictions, np.float64)
    targets = np.asarray(targets, np.float64)
    if predictions.ndim == targets.ndim + 1 and predictions.shape[-1] == 1:
        predictions = predictions[..., 0]
    return _pair(predictions, targets)


def pearson(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Pearson's correlation; NaN where one side does not vary. [N], [N]."""
    predictions, targets = _numbers(predictions, targets)
    a, b = predictions - predictions.mean(), targets - targets.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > 0 else float("nan")


def r2(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Share of the targets' variance explained; NaN where they do not vary."""
    predictions, targets = _numbers(predictions, targets)
    spread = ((targets - targets.mean()) ** 2).sum()
    if spread == 0:
        return float("nan")
    return float(1 - ((predictions - targets) ** 2).sum() / spread)


def _flags(predictions: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Booleans [N C] of both: what is above 0 is there (flags and logits alike)."""
    predictions, labels = _pair(predictions, labels)
    if labels.ndim != 2:
        raise ValueError(f"labels have shape {labels.shape}, expected [N C]")
    return predictions > 0, labels > 0


def multilabel_f1(
    predictions: ArrayLike, labels: ArrayLike, *, average: str = "micro"
) -> float:
    """F1 for several labels at once: "micro" pools all cells, "macro" averages classes.

    predictions [N C] flags or logits (present above 0; not probabilities), labels
    [N C] flags. A class that never occurs counts 0.
    """
    if average not in ("micro", "macro"):
        raise ValueError(f"average is {average!r}, expected 'micro' or 'macro'")
    predictions, labels = _flags(predictions, labels)
    hits = (predictions & labels).sum(0)
    predicted, present = predictions.sum(0), labels.sum(0)
    if average == "micro":
        hits, predicted, present = hits.sum(), predicted.sum(), present.sum()
    return float(np.mean(_f1(hits, predicted, present)))


def subset_accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Share of examples with all labels right. Arguments as in `multilabel_f1`."""
    predictions, labels = _flags(predictions, labels)
    return float((predictions == labels).all(1).mean())
