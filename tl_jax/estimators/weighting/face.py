"""Weighted fits as scikit-learn knows estimators: any base, any weighting."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.face import LinearProbe
from tl_jax.estimators.protocol import (
    classes_of,
    classifier,
    numbers_of,
    regressor,
    seen,
    target_of,
)
from tl_jax.estimators.ridge_face import RidgeProbe
from tl_jax.estimators.weighting.kliep import kliep
from tl_jax.estimators.weighting.kmm import kmm
from tl_jax.estimators.weighting.nearest import nearest
from tl_jax.estimators.weighting.propensity import propensity
from tl_jax.estimators.weighting.report import prepared
from tl_jax.estimators.weighting.ulsif import rulsif, ulsif
from tl_jax.tree import one_of

METHODS = {
    "kliep": kliep,
    "kmm": kmm,
    "nearest": nearest,
    "propensity": propensity,
    "rulsif": rulsif,
    "ulsif": ulsif,
}
"""Name -> `(source [N D], target [M D], ...) -> Weights`."""


class _Weighted:
    """What both faces do alike."""

    def __init__(
        self,
        estimator: Any = None,
        method: str = "kmm",
        options: Mapping[str, Any] | None = None,
        clip: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.options = options
        self.clip = clip

    def _fit(
        self, X: np.ndarray, y: Any, X_target: Any, sample_weight: Any, base: Any
    ) -> Self:
        """Weigh X [N D], then fit the base."""
        from sklearn.base import clone

        one_of("method", self.method, METHODS)
        self.weights_, self.report_, self.clipped_ = None, None, None
        weight = sample_weight
        if X_target is not None:
            X_target = target_of(X, X_target)
            self.weights_ = METHODS[self.method](X, X_target, **(self.options or {}))
            ready = prepared(self.weights_.values, self.clip)
            self.report_, self.clipped_ = ready.report, ready.clipped
            given = 1.0 if weight is None else np.asarray(weight, np.float64)
            weight = ready.values * given
        estimator = base() if self.estimator is None else clone(self.estimator)
        given = {} if weight is None else {"sample_weight": weight}
        self.estimator_ = estimator.fit(X, y, **given)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """What the weighted base says of X [N D]: [N]."""
        rows = seen(self, X)
        return self.estimator_.predict(rows)


@classifier
class Reweighted(_Weighted):
    """A classifier whose training rows are weighed to stand for the target's.

    `estimator` takes `sample_weight` (a `LinearProbe` by default); `method` is one of
    `METHODS`, called with `options`; weights above `clip` times their mean are cut.
    After `fit` with X_target: `weights_`, `report_` (effective sample size and more),
    `clipped_`; without it they are None, and the base is fitted as it is.
    """

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit on X [N D] and labels y [N], weighed by X_target [M D]."""
        X, self.classes_, _ = classes_of(self, X, y)
        y = np.asarray(y).ravel()
        return self._fit(X, y, X_target, sample_weight, LinearProbe)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probabilities [N C] of a base that has them."""
        rows = seen(self, X)
        return self.estimator_.predict_proba(rows)


@regressor
class ReweightedRegressor(_Weighted):
    """The same for numbers; a `RidgeProbe` by default."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit on X [N D] and numbers y [N], weighed by X_target [M D]."""
        X, y = numbers_of(self, X, y)
        return self._fit(X, y, X_target, sample_weight, RidgeProbe)
