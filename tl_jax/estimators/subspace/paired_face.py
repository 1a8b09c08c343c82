"""Kernel CCA as scikit-learn knows transformers of two views."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.protocol import transformer
from tl_jax.estimators.subspace.kernel_cca import Kernel, kernel_cca


@transformer("correlated_")
class KernelCCA:
    """`kernel_cca` as scikit-learn knows transformers of two views, such as its `CCA`.

    `fit(X, Y)`, then `transform(X)` or `transform(X, Y)` into the shared space. A
    classifier of one view's components serves the other's: heterogeneous transfer
    where some rows of source and target belong together. After `fit`:
    `correlations_`, `correlated_`.
    """

    def __init__(
        self,
        n_components: int = 10,
        kernel: Kernel = "rbf",
        gamma: float | tuple[float | None, float | None] | None = None,
        strength: float = 0.02,
        rank: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.strength = strength
        self.rank = rank

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on pairs of rows, X [N D] and y [N E] (or [N])."""
        from sklearn.utils.validation import validate_data

        how = dict(dtype=np.float64, multi_output=True, ensure_min_samples=2)
        X, y = validate_data(self, X, y, **how)
        y = np.asarray(y, np.float64).reshape(len(X), -1)
        self.correlated_ = kernel_cca(
            X,
            y,
            components=self.n_components,
            kind=self.kernel,
            gamma=self.gamma,
            strength=self.strength,
            rank=self.rank,
        )
        self.correlations_ = self.correlated_.correlations
        return self

    def transform(self, X: ArrayLike, y: ArrayLike | None = None) -> Any:
        """Components [N K] of rows of the first view, and of both where y is given."""
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        made = self.correlated_.x(X)
        return made if y is None else (made, self.transform_other(y))

    def transform_other(self, y: ArrayLike) -> np.ndarray:
        """Components [N K] of rows of the second view alone."""
        from sklearn.utils.validation import check_array, check_is_fitted

        check_is_fitted(self)
        y = check_array(y, ensure_2d=False)
        return self.correlated_.y(y[:, None] if y.ndim == 1 else y)

    def fit_transform(self, X: ArrayLike, y: ArrayLike) -> np.ndarray:
        """`fit`, then the first view's components, where scikit-learn's give both."""
        return self.fit(X, y).transform(X)
