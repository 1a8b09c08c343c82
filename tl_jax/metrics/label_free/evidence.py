"""What a choice among models may look at: no label of the target's is part of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Evidence(NamedTuple):
    """One model's features and predictions of both domains.

    Source rows are held out: the model did not train on them. There is no field for
    labels of the target, so that no score can see one.
    """

    source_features: ArrayLike
    """[S D] of held-out source rows."""
    source_logits: ArrayLike
    """[S C]"""
    source_labels: ArrayLike
    """[S] int in 0..C-1."""
    train_features: ArrayLike
    """[N D] of the source rows that the model trained on."""
    target_features: ArrayLike
    """[T D]"""
    target_logits: ArrayLike
    """[T C]"""
    weights: ArrayLike | None = None
    """[S] p_target(x) / p_source(x) of the held-out source rows, where it is known or
    was estimated elsewhere; else a logistic regression on the features finds it."""


def check(evidence: Evidence) -> Evidence:
    """The evidence as NumPy arrays, float64 but for the labels.

    Raises ValueError, naming the field, for shapes that don't fit together, values
    that are not finite, labels that are no integers in 0..C-1 and negative weights.
    """
    wide = {
        name: np.asarray(value, np.float64)
        for name, value in evidence._asdict().items()
        if name != "source_labels" and value is not None
    }
    for name, value in wide.items():
        _check_values(name, value, 1 if name == "weights" else 2)
    labels = np.asarray(evidence.source_labels)
    _check_labels(labels, wide["source_logits"].shape[1])
    source, target = wide["source_features"], wide["target_features"]
    sizes = {
        "source_logits": ("rows", 0, len(source)),
        "target_logits": ("rows", 0, len(target)),
        "train_features": ("columns", 1, source.shape[1]),
        "target_features": ("columns", 1, source.shape[1]),
    }
    if "weights" in wide:
        sizes["weights"] = ("rows", 0, len(source))
        if wide["weights"].min() < 0:
            raise ValueError(f"weights hold {wide['weights'].min()}, expected >= 0")
    for name, (what, axis, want) in sizes.items():
        if wide[name].shape[axis] != want:
            found = wide[name].shape[axis]
            raise ValueError(f"{name} has {found} {what}, expected {want}")
    if len(labels) != len(source):
        raise ValueError(
            f"source_labels has {len(labels)} rows, expected {len(source)}"
        )
    if wide["target_logits"].shape[1] != wide["source_logits"].shape[1]:
        raise ValueError(
            f"target_logits has {wide['target_logits'].shape[1]} columns, "
            f"source_logits {wide['source_logits'].shape[1]}"
        )
    return Evidence(**{"weights": None} | wide | {"source_labels": labels})


def _check_values(name: str, value: np.ndarray, rank: int) -> None:
    if value.ndim != rank or not value.size:
        shape = "[rows columns]" if rank == 2 else "[rows]"
        raise ValueError(f"{name} has shape {value.shape}, expected {shape}, not empty")
    rows = np.flatnonzero(~np.isfinite(value).reshape(len(value), -1).all(1))
    if len(rows):
        raise ValueError(
            f"{name}: row {rows[0]} has a NaN or infinity ({len(rows)} such rows)"
        )


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"source_labels are {labels.dtype} of shape {labels.shape}, expected "
            "integers [rows]"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"source_labels: row {wrong[0]} is {labels[wrong[0]]}, expected "
            f"0..{classes - 1}, as source_logits has columns"
        )


def odds(logits: np.ndarray) -> np.ndarray:
    """Softmax over classes in float64. logits [N C] -> [N C]."""
    logits = np.asarray(logits, np.float64)
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
