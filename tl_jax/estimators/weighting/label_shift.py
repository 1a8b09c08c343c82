"""Label shift: the classes' shares change, what a class looks like does not."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators import checks


class LabelShift(NamedTuple):
    """How the classes' shares changed."""

    ratio: np.ndarray
    """[C] target share / source share: the weight of a row of that class."""
    prior: np.ndarray
    """[C] shares in the target, of sum 1."""
    found: Mapping[str, Any]

    def of(self, labels: ArrayLike) -> np.ndarray:
        """Weights [N] of source rows with these labels [N] in 0..C-1."""
        labels = np.asarray(labels)
        checks.check_labels("labels", labels, len(self.ratio))
        return self.ratio[labels]


def bbse(
    source: ArrayLike, labels: ArrayLike, target: ArrayLike, *, hard: bool = False
) -> LabelShift:
    """Black box shift estimation (Lipton et al., 2018).

    w = max(0, A^-1 mu),  A_ij = mean_n p_i(x_n) [y_n = j],  mu_i = mean_m p_i(t_m)

    Any classifier will do, calibrated or not, as long as A can be inverted; the rows
    of `source` must not be those that it was trained on. `hard` takes its decisions
    instead of p. `found["condition"]` is A's condition number: the error of w is that
    of mu times about so much. `found["clipped"]` counts what was below 0.

    source: probabilities [N C] of held-out source rows with labels [N] in 0..C-1;
    target: probabilities [M C]. Raises ValueError for rows that are no probabilities,
    a class without a source row, and an A that can't be inverted.
    """
    source, target = _probabilities("source", source), _probabilities("target", target)
    classes = source.shape[1]
    shares = _shares(labels, source)
    if target.shape[1] != classes:
        raise ValueError(
            f"target rows have {target.shape[1]} classes, source rows {classes}"
        )
    if hard:
        ones = np.eye(classes)
        source, target = ones[source.argmax(1)], ones[target.argmax(1)]
    A = source.T @ np.eye(classes)[np.asarray(labels)] / len(source)
    condition = float(np.linalg.cond(A))
    if condition > 1e8:
        raise ValueError(
            f"the confusion matrix has condition number {condition:.3g}: "
            "the classifier does not tell some classes apart"
        )
    raw = np.linalg.solve(A, target.mean(0))
    ratio = np.maximum(raw, 0.0)
    if not ratio.sum() > 0:
        raise ValueError("no class has a positive weight")
    prior = ratio * shares
    found = {"condition": condition, "clipped": int((raw < 0).sum()), "source": shares}
    return LabelShift(ratio, prior / prior.sum(), found)


def em(
    target: ArrayLike,
    prior: ArrayLike,
    *,
    tolerance: float = 1e-9,
    steps: int = 10_000,
) -> LabelShift:
    """The target's shares by expectation and maximisation (Saerens et al., 2002).

    q_c <- mean_m q_c / p_c p_c(t_m) / sum_k q_k / p_k p_k(t_m)

    The likelihood of q is concave, so that the end is its maximum, if the
    probabilities are calibrated on the source; where they are not, `bbse` is safer.
    `found["gap"]` bounds how far the mean log likelihood is below the largest,
    `found["converged"]` says whether that is at most `tolerance`.

    target: probabilities [M C] by a classifier trained with the shares `prior` [C].
    Raises ValueError for rows that are no probabilities and shares that are not
    positive or do not add up to 1.
    """
    target = _probabilities("target", target)
    prior = np.asarray(prior, np.float64)
    if prior.shape != target.shape[1:] or not (prior > 0).all():
        raise ValueError(
            f"prior is {prior}, expected {target.shape[1]} positive shares"
        )
    if abs(prior.sum() - 1) > 1e-6:
        raise ValueError(f"prior adds up to {prior.sum()}, expected 1")
    likelihood = target / prior
    q, gap, step = prior.copy(), np.inf, 0
    while step < steps and gap > tolerance:
        rise = (likelihood / (likelihood @ q)[:, None]).mean(0)
        gap = float(rise.max() - 1)
        q = q * rise
        q, step = q / q.sum(), step + 1
    found = {"gap": gap, "converged": gap <= tolerance, "steps": step, "source": prior}
    return LabelShift(q / prior, q, found)


def _probabilities(name: str, rows: ArrayLike) -> np.ndarray:
    """[N C] in float64, each row of sum 1."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] < 2:
        raise ValueError(f"{name} has shape {rows.shape}, expected [N C] with C > 1")
    checks.check_finite(name, rows)
    off = (rows.min(1) < 0) | (abs(rows.sum(1) - 1) > 1e-3)
    if off.any():
        row = int(off.argmax())
        raise ValueError(f"{name}: row {row} is {rows[row]}, expected probabilities")
    return rows


def _shares(labels: ArrayLike, source: np.ndarray) -> np.ndarray:
    """[C] shares of the labels, every class among them."""
    labels, classes = np.asarray(labels), source.shape[1]
    checks.check_labels("labels", labels, classes)
    if len(labels) != len(source):
        raise ValueError(f"{len(labels)} labels for {len(source)} source rows")
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise ValueError(f"class {int(counts.argmin())} has no source row")
    return counts / counts.sum()
