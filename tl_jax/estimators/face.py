"""The linear probe as scikit-learn knows estimators.

By its protocol, not its base class: scikit-learn is imported when a method needs it.
"""

from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.linear_probe import fit
from tl_jax.estimators.standard import Probe

PARAMETERS = ("strengths", "fraction", "seed", "tolerance", "steps")


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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments by name."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments; raises ValueError for an unknown name."""
        for name, value in params.items():
            if name not in PARAMETERS:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self!r}. "
                    f"Valid parameters are: {list(PARAMETERS)}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v!r}" for k, v in self.get_params().items())
        return f"LinearProbe({values})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "probe_")

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit on X [N D] and y [N] of any labels, weighted by sample_weight [N]."""
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import validate_data

        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only: {self.classes_[0]!r}")
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
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
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

    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Accuracy."""
        right = self.predict(X) == np.asarray(y)
        return float(np.average(right, weights=sample_weight))


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
