"""Circular validation: back from the target to the source."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.ridge import ridge
from tl_jax.metrics import task
from tl_jax.metrics.label_free.evidence import Evidence, check

Fit = Callable[[ArrayLike, np.ndarray, ArrayLike], Callable[[ArrayLike], ArrayLike]]
"""(inputs, labels, unlabelled inputs of the other domain) -> predict(inputs)."""
STRENGTHS = (10.0, 1.0, 0.1, 0.01, 1e-3)
"""Penalties of the linear probe, one of which leaving one out chooses."""


def circular(
    target: ArrayLike,
    pseudo_labels: ArrayLike,
    source: ArrayLike,
    labels: ArrayLike,
    *,
    fit: Fit,
    metric: Callable[[ArrayLike, ArrayLike], float] = task.accuracy,
) -> float:
    """What a model trained back on pseudo-labels scores on the source.

    predict = fit(target, pseudo_labels, source), with the same method and settings as
    on the way there; the score is metric(predict(source), labels) (Zhong et al., 2010,
    "reverse validation"; Bruzzone and Marconcini, 2010, "circular"; Ganin et al., 2016,
    who choose DANN's settings so). Higher is better.

    If all pseudo-labels are the same nothing is fitted: that class is the prediction,
    as in skada's CircularValidation, whose metric is the balanced accuracy.

    target, source: anything `fit` takes; pseudo_labels [T], labels [S]. Raises
    ValueError for lengths that differ.
    """
    pseudo, labels = np.asarray(pseudo_labels), np.asarray(labels)
    for name, inputs, own in (("target", target, pseudo), ("source", source, labels)):
        if len(inputs) != len(own) or not len(own):
            raise ValueError(f"{name}: {len(inputs)} inputs for {len(own)} labels")
    if (pseudo == pseudo[0]).all():
        return float(metric(np.full(len(labels), pseudo[0]), labels))
    return float(metric(np.asarray(fit(target, pseudo, source)(source)), labels))


def back(evidence: Evidence) -> float:
    """Circular validation of the features by a linear probe; higher is better.

    A ridge regression of -1 and 1 for each class, in closed form and with its penalty
    chosen by leaving one out, learns the largest target logits from the target's
    features; its accuracy on held-out source rows is the score. The body stays, so it
    costs one decomposition, not a second training. A model whose predictions are a
    linear function of features that both domains share gets full marks, be they right
    or wrong on the target.
    """
    evidence = check(evidence)

    def fit(features: ArrayLike, labels: np.ndarray, _: ArrayLike) -> Callable:
        known, ids = np.unique(labels, return_inverse=True)
        probe = ridge(features, 2.0 * np.eye(len(known))[ids] - 1, STRENGTHS)
        kernel, bias = np.asarray(probe.kernel), np.asarray(probe.bias)
        return lambda rows: known[(np.asarray(rows) @ kernel + bias).argmax(-1)]

    pseudo = np.asarray(evidence.target_logits).argmax(-1)
    given = evidence.target_features, pseudo
    return circular(*given, evidence.source_features, evidence.source_labels, fit=fit)
