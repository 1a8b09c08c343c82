"""The linear probe as scikit-learn knows estimators.

By its protocol, not its base class: scikit-learn is imported when a method needs it.
"""

from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.linear_probe import fit
from tl_jax.estimators.protocol import classes_of, classifier, seen
from tl_jax.estimators.standard import Probe


@classifier
class LinearProbe:
    """Logistic regression on standardised features; see `fit` for the objective.

    With several strengths a stratified `fraction` of the rows is held out to choose
    one, and the probe is fitted anew on all rows. After `fit`: `classes_`, `coef_`
    [C D], `intercept_` [C], `probe_`.
    """

    def __init__(
        self,
        strengths: tuple[float, ...] = (1e-2,),
        fraction: float = 0.2,
        seed: int = 0,
        tolerance: float = 1e-6,
        steps: int = 1000,
    ) -> None:
        self.strengths = strengths
        self.fraction = fraction
        self.seed = seed
        self.tolerance = tolerance
        self.steps = steps

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit on X [N D] and y [N] of any labels, weighted by sample_weight [N]."""
        X, self.classes_, labels = classes_of(self, X, y)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        weight = np.asarray(weight, np.float32)
        strength = self._strength(X, labels, weight)
        self.probe_ = self._solve(X, labels, weight, (strength,), None)
        self.coef_ = np.asarray(self.probe_.kernel).T
        self.intercept_ = np.asarray(self.probe_.bias)
        return self

    def _strength(self, X: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
        """The best strength on held-out rows."""
        if len(self.strengths) == 1:
            return self.strengths[0]
        held = _hold_out(labels, self.fraction, self.seed)
        validation = (X[held], labels[held])
        keep = ~held
        probe = self._solve(
            X[keep], labels[keep], weight[keep], tuple(self.strengths), validation
        )
        return float(probe.strength)

    def _solve(
        self,
        X: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        strengths: tuple[float, ...],
        validation: Any,
    ) -> Probe:
        """`fit` with this estimator's settings, on rows padded with weight 0."""
        more = _padding(len(X))
        return fit(
            np.pad(X, ((0, more), (0, 0))),
            np.pad(labels, (0, more)),
            classes=len(self.classes_),
            validation=validation,
            strengths=strengths,
            weight=np.pad(weight, (0, more)),
            tolerance=self.tolerance,
            steps=self.steps,
        )

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Logits [N C]; for two classes their difference [N]."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def _logits(self, X: ArrayLike) -> np.ndarray:
        X = seen(self, X)
        return X @ self.coef_.T + self.intercept_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels [N], of the kind that was fitted."""
        best = self._logits(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities [N C], columns in the order of `classes_`."""
        return np.asarray(jax.nn.softmax(self._logits(X), axis=-1))

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Log probabilities [N C]."""
        return np.asarray(jax.nn.log_softmax(self._logits(X), axis=-1))


def _padding(count: int) -> int:
    """Rows to add, at most a quarter or 31: folds of like size then compile once."""
    size = max(32, 2 ** (count.bit_length() - 3))
    return -count % size


def _hold_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """[N] True for held-out rows: of each class its fraction, never the last row."""
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}, expected between 0 and 1")
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held[rows[: min(int(np.ceil(fraction * len(rows))), len(rows) - 1)]] = True
    if not held.any():
        raise ValueError("no class has two rows: none can be held out")
    return held
