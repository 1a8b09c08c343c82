"""Classifiers for another domain: an alignment, then any base classifier."""

from typing import Any

import jax
import numpy as np

from tl_jax.estimators.subspace.augmentation import augmentation
from tl_jax.estimators.subspace.coral import coral
from tl_jax.estimators.subspace.face import aligned
from tl_jax.estimators.subspace.linear_ot import linear_ot
from tl_jax.estimators.subspace.principal import (
    consistent_dimension,
    subspace_alignment,
)
from tl_jax.estimators.subspace.tca import Kernel, tca


@aligned(coral)
class CORAL:
    """A base classifier on source rows of the target's covariance; see `coral`.

    `fit(X, y, X_target)`, then `predict` and `transform` of target rows, or of others
    with domain="source". The base is a `LinearProbe` unless given. Without X_target it
    is the base alone.
    """

    def __init__(
        self, estimator: Any = None, shrinkage: float = 1.0, means: bool = False
    ) -> None:
        self.estimator = estimator
        self.shrinkage = shrinkage
        self.means = means


@aligned(linear_ot)
class LinearOT:
    """A base classifier on source rows moved to the target; see `linear_ot`.

    Used as `CORAL`.
    """

    def __init__(self, estimator: Any = None, ridge: float = 1e-6) -> None:
        self.estimator = estimator
        self.ridge = ridge


@aligned(tca)
class TCA:
    """A base classifier on transfer components; see `tca`. Used as `CORAL`."""

    def __init__(
        self,
        estimator: Any = None,
        dimension: int = 20,
        kernel: Kernel = "rbf",
        mu: float = 1.0,
        gamma: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.dimension = dimension
        self.kernel = kernel
        self.mu = mu
        self.gamma = gamma


@aligned(augmentation, supervised=True)
class FeatureAugmentation:
    """A base classifier on shared and own features of domains; see `augmentation`.

    `fit(X, y, X_target, y_target)`: it learns from labels of both. Used as `CORAL`
    otherwise.
    """

    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator


@aligned(subspace_alignment)
class SubspaceAlignment:
    """A base classifier on aligned principal axes; see `subspace_alignment`.

    Without a `dimension`, of 1, 2, 4, ... up to `consistent_dimension` the one is taken
    whose aligned source rows the base tells apart best, by two-fold cross-validation
    (Fernando et al., 2013, who try every number): `dimension_`. Used as `CORAL`.
    """

    def __init__(self, estimator: Any = None, dimension: int | None = None) -> None:
        self.estimator = estimator
        self.dimension = dimension

    def _options(self, X: np.ndarray, X_target: np.ndarray, y: np.ndarray) -> dict:
        """The dimension given, or the best on the source; never of target labels."""
        self.dimension_ = self.dimension
        if self.dimension is None:
            with jax.enable_x64(True):
                most = consistent_dimension(X, X_target)
            tried = sorted({*(2**k for k in range(most.bit_length())), most})
            scores = [self._source_score(X, X_target, y, d) for d in tried]
            self.dimension_ = tried[int(np.argmax(scores))]
        return {"dimension": self.dimension_}

    def _source_score(self, X: Any, X_target: Any, y: Any, dimension: int) -> float:
        from sklearn.model_selection import StratifiedKFold, cross_val_score

        rows = np.asarray(subspace_alignment(X, X_target, dimension).source(X))
        folds = StratifiedKFold(2, shuffle=True, random_state=0)
        return float(cross_val_score(self._base(), rows, y, cv=folds).mean())
