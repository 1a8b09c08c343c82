"""Boosting across domains as scikit-learn knows estimators."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.boosting.rounds import Learner, Side, majority, median
from tl_jax.estimators.boosting.tradaboost import tradaboost, tradaboost_r2
from tl_jax.estimators.boosting.two_stage import TwoStage, frozen_source, two_stage
from tl_jax.estimators.checks import check_weight
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


@classifier
class TrAdaBoost:
    """Classes of a target with few labelled rows, with a source's help (`tradaboost`).

    `estimator` takes `sample_weight` (a `LinearProbe` by default). After `fit`:
    `estimators_`, `classes_`, `boosted_`. Without target rows X is the target:
    AdaBoost.M1, whose later half votes.
    """

    def __init__(self, estimator: Any = None, rounds: int = 10) -> None:
        self.estimator = estimator
        self.rounds = rounds

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit on the source X [N D], y [N] and target rows [M D] with labels [M]."""
        X, self.classes_, _ = classes_of(self, X, y)
        rows = X, np.asarray(y).ravel(), sample_weight
        source, target = _sides(rows, X_target, y_target, target_weight)
        known = self.classes_.tolist()
        if strange := sorted(set(target.targets.tolist()) - set(known)):
            raise ValueError(
                f"y_target holds {strange[0]!r}, which y lacks; y's are {known}"
            )
        learn = _learner(self.estimator, LinearProbe)
        self.boosted_ = tradaboost(learn, source, target, self.rounds)
        self.estimators_ = list(self.boosted_.models)
        return self

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Shares of the votes [N C]."""
        rows = seen(self, X)
        return majority(self.boosted_, rows, self.classes_)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Labels [N], of the kind that was fitted."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]


@regressor
class TrAdaBoostR2:
    """Numbers of a target with few labelled rows, by a source (`tradaboost_r2`).

    As `TrAdaBoost`, with a `RidgeProbe` by default.
    """

    def __init__(self, estimator: Any = None, rounds: int = 10) -> None:
        self.estimator = estimator
        self.rounds = rounds

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit on the source X [N D], y [N] and target rows [M D] with numbers [M]."""
        X, y = numbers_of(self, X, y)
        sides = _sides((X, y, sample_weight), X_target, y_target, target_weight)
        learn = _learner(self.estimator, RidgeProbe)
        self.boosted_ = tradaboost_r2(learn, *sides, self.rounds)
        self.estimators_ = list(self.boosted_.models)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The weighted median [N] of the later half of the rounds."""
        rows = seen(self, X)
        return median(self.boosted_.last, rows)


@regressor
class TwoStageTrAdaBoostR2:
    """The same in two stages (`two_stage`). After `fit`: `found_`, `estimators_`.

    Without target rows X is the target: AdaBoost.R2, there is no source to weigh.
    """

    def __init__(
        self,
        estimator: Any = None,
        stages: int = 10,
        rounds: int = 10,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.estimator = estimator
        self.stages = stages
        self.rounds = rounds
        self.folds = folds
        self.seed = seed

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_target: ArrayLike | None = None,
        y_target: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        target_weight: ArrayLike | None = None,
    ) -> Self:
        """Fit on the source X [N D], y [N] and target rows [M D] with numbers [M]."""
        X, y = numbers_of(self, X, y)
        sides = _sides((X, y, sample_weight), X_target, y_target, target_weight)
        if X_target is None:
            alone = frozen_source(
                _learner(self.estimator, RidgeProbe), *sides, self.rounds
            )
            self.found_ = TwoStage(alone, 0, np.zeros(0), np.ones(1))
            self.estimators_ = list(alone.models)
            return self
        how = dict(stages=self.stages, rounds=self.rounds)
        how |= dict(folds=self.folds, seed=self.seed)
        learn = _learner(self.estimator, RidgeProbe)
        self.found_ = two_stage(learn, *sides, **how)
        self.estimators_ = list(self.found_.model.models)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The weighted median [N] of the chosen stage."""
        rows = seen(self, X)
        return median(self.found_.model, rows)


def _learner(estimator: Any, base: type) -> Learner:
    """What fits a new copy of the estimator."""
    from sklearn.base import clone

    def learn(rows: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Any:
        made = base() if estimator is None else clone(estimator)
        return made.fit(rows, targets, sample_weight=weight)

    return learn


def _sides(
    given: tuple, X_target: Any, y_target: Any, target_weight: Any
) -> tuple[Side, Side]:
    """(Source, target); without target rows those of the source are the target's."""
    X, y, weight = given
    own = Side(X, y, _weight("sample_weight", weight, len(X)))
    if (X_target is None) != (y_target is None):
        raise ValueError("X_target and y_target need one another")
    if X_target is None:
        if target_weight is not None:
            raise ValueError("target_weight needs X_target and y_target")
        return Side(*(part[:0] for part in own)), own
    rows, targets = target_of(X, X_target), np.asarray(y_target).ravel()
    if len(targets) != len(rows):
        raise ValueError(f"{len(targets)} y_target for {len(rows)} rows of X_target")
    return own, Side(rows, targets, _weight("target_weight", target_weight, len(rows)))


def _weight(name: str, weight: Any, rows: int) -> np.ndarray:
    if weight is None:
        return np.ones(rows)
    weight = np.asarray(weight, np.float64)
    if weight.shape != (rows,):
        raise ValueError(f"{name} has shape {weight.shape}, expected {(rows,)}")
    check_weight(weight)
    return weight
