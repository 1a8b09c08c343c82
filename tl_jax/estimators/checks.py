"""Checks of what an estimator is given. Values are looked at only outside a trace."""

from typing import Any

import jax
import numpy as np

from tl_jax.types import Array


def traced(*values: Any) -> bool:
    """True if a value is known only when the program runs."""
    return any(isinstance(value, jax.core.Tracer) for value in values)


def check_shapes(
    features: Array, targets: Array, weight: Array | None = None, name: str = "training"
) -> None:
    """features [N D], targets [N ...], weight [N], N at least 1."""
    shape, count = np.shape(features), np.shape(targets)[:1]
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"{name} features have shape {shape}, expected [N D]")
    if count != shape[:1]:
        raise ValueError(f"{name}: {shape[0]} rows of features, targets {count}")
    if weight is not None and np.shape(weight) != shape[:1]:
        raise ValueError(
            f"{name}: weight has shape {np.shape(weight)}, expected {shape[:1]}"
        )


def check_validation(features: Array, validation: tuple[Array, Array] | None) -> None:
    """Validation features of the training width, in shape and finite."""
    if validation is None:
        return
    check_shapes(*validation, name="validation")
    width = np.shape(validation[0])[1]
    if width != np.shape(features)[1]:
        raise ValueError(
            f"validation features are {width} wide, "
            f"training features {np.shape(features)[1]}"
        )
    check_finite("validation features", validation[0])


def check_strengths(strengths: tuple[float, ...]) -> None:
    """One or more positive numbers."""
    if not len(strengths):
        raise ValueError("strengths is empty")
    if wrong := [s for s in strengths if not 0 < s < float("inf")]:
        raise ValueError(f"strength {wrong[0]} is not positive and finite")


def check_finite(name: str, values: Array) -> None:
    """No NaN or infinity; names the first row that has one."""
    if traced(values):
        return
    values = np.asarray(values)
    fine = np.isfinite(values).reshape(len(values), -1).all(1)
    if not fine.all():
        row = int(np.flatnonzero(~fine)[0])
        raise ValueError(
            f"{name}: row {row} has a NaN or infinity ({int((~fine).sum())} such rows)"
        )


def check_weight(weight: Array) -> None:
    """Weights that are finite, not negative and not all 0."""
    if traced(weight):
        return
    check_finite("weight", weight)
    weight = np.asarray(weight)
    if (weight < 0).any():
        row = int(np.flatnonzero(weight < 0)[0])
        raise ValueError(f"weight of row {row} is {weight[row]}, expected at least 0")
    if not weight.sum() > 0:
        raise ValueError("every weight is zero")


def check_labels(name: str, labels: Array, classes: int) -> None:
    """Integers in 0..classes-1; names the first row with another."""
    if np.ndim(labels) != 1:
        raise ValueError(f"{name} have shape {np.shape(labels)}, expected [N]")
    dtype = labels.dtype if hasattr(labels, "dtype") else np.asarray(labels).dtype
    if not np.issubdtype(dtype, np.integer):
        raise ValueError(f"{name} are {dtype}, expected integers")
    if traced(labels):
        return
    labels = np.asarray(labels)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"{name}: row {wrong[0]} is {labels[wrong[0]]}, "
            f"expected 0..{classes - 1} ({len(wrong)} such rows)"
        )


def check_several(labels: Array, weight: Array) -> None:
    """More than one class among the rows that count."""
    if traced(labels, weight):
        return
    present = np.unique(np.asarray(labels)[np.asarray(weight) > 0])
    if len(present) < 2:
        raise ValueError(
            f"the training labels hold one class only ({present[0]}); "
            "a probe needs at least two"
        )
