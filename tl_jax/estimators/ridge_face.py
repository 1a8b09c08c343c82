"""Ridge regression as scikit-learn knows estimators."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.linear_probe import STRENGTHS
from tl_jax.estimators.protocol import numbers_of, regressor, seen
from tl_jax.estimators.ridge import ridge


@regressor
class RidgeProbe:
    """Ridge regression on standardised features; see `ridge` for the objective.

    Of several strengths the best by leave-one-out is taken. After `fit`: `coef_` [D],
    `intercept_`, `probe_`.
    """

    def __init__(self, strengths: tuple[float, ...] = STRENGTHS) -> None:
        self.strengths = strengths

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit on X [N D] and numbers y [N], weighted by sample_weight [N]."""
        X, y = numbers_of(self, X, y)
        weight = None if sample_weight is None else np.asarray(sample_weight, float)
        self.probe_ = ridge(X, y, tuple(self.strengths), weight=weight)
        self.coef_ = np.asarray(self.probe_.kernel, np.float64)[:, 0]
        self.intercept_ = float(self.probe_.bias[0])
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Numbers [N]."""
        return seen(self, X) @ self.coef_ + self.intercept_
