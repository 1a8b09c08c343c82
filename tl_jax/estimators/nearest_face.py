"""The probe of nearest neighbours as scikit-learn knows estimators."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.neighbours import Vote, nearest_votes
from tl_jax.estimators.protocol import classes_of, classifier, seen

ROWS = 1024
"""Queries at once: their similarities to all training rows are held."""


@classifier
class NearestProbe:
    """Votes of the most similar training rows; see `nearest_votes`.

    After `fit`: `classes_`, `features_` [N D], `labels_` [N] into `classes_`,
    `weight_` [N].
    """

    def __init__(
        self, k: int = 200, vote: Vote = "weighted", temperature: float = 0.07
    ) -> None:
        self.k = k
        self.vote = vote
        self.temperature = temperature

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Keep X [N D] and y [N] of any labels, weighted by sample_weight [N]."""
        X, self.classes_, self.labels_ = classes_of(self, X, y)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        self.features_, self.weight_ = X, np.asarray(weight, np.float32)
        self._votes(X[:1])
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Shares of the votes [N C], columns in the order of `classes_`."""
        X = seen(self, X)
        parts = [X[i : i + ROWS] for i in range(0, len(X), ROWS)]
        return np.concatenate([self._votes(part) for part in parts])

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels [N], of the kind that was fitted; of equal votes the first class."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def _votes(self, queries: np.ndarray) -> np.ndarray:
        how: dict[str, Any] = dict(k=self.k, vote=self.vote)
        how |= dict(temperature=self.temperature, weight=self.weight_)
        return np.asarray(
            nearest_votes(
                self.features_,
                self.labels_,
                queries,
                classes=len(self.classes_),
                **how,
            )
        )
