"""What all estimators owe to scikit-learn's protocol, whose base class they lack."""

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np


def classifier(cls: type) -> type:
    """Give a class the methods of a scikit-learn classifier that are like in all.

    `get_params`, `set_params`, `score`, tags and a representation, by the arguments of
    its constructor; it is fitted once it has `classes_`.
    """
    names = tuple(inspect.signature(cls).parameters)

    def get_params(self: Any, deep: bool = True) -> dict[str, Any]:
        """Constructor arguments by name; `deep`, an estimator's own as `name__own`."""
        own = {name: getattr(self, name) for name in names}
        if deep:
            own |= {f"{n}__{k}": v for n in names for k, v in _params(own[n]).items()}
        return own

    def set_params(self: Any, **params: Any) -> Self:
        """Set constructor arguments; raises ValueError for an unknown name."""
        for path, value in sorted(params.items()):
            name, _, inner = path.partition("__")
            nested = inner and hasattr(getattr(self, name, None), "set_params")
            if name not in names or (inner and not nested):
                raise ValueError(
                    f"Invalid parameter {path!r} for estimator {self!r}. "
                    f"Valid parameters are: {list(self.get_params())}."
                )
            if nested:
                getattr(self, name).set_params(**{inner: value})
            else:
                setattr(self, name, value)
        return self

    def __repr__(self: Any) -> str:
        own = self.get_params(deep=False)
        values = ", ".join(f"{k}={v!r}" for k, v in own.items())
        return f"{cls.__name__}({values})"

    def __sklearn_is_fitted__(self: Any) -> bool:
        return hasattr(self, "classes_")

    own = (get_params, set_params, score, __repr__)
    for method in (*own, __sklearn_tags__, __sklearn_is_fitted__):
        setattr(cls, method.__name__, method)
    return cls


def _params(value: Any) -> dict[str, Any]:
    """Parameters of an estimator; none of what is not one."""
    known = hasattr(value, "get_params") and not isinstance(value, type)
    return value.get_params() if known else {}


def score(self: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
    """Accuracy."""
    right = self.predict(X) == np.asarray(y)
    return float(np.average(right, weights=sample_weight))


def __sklearn_tags__(self: Any) -> Any:
    from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

    return Tags(
        estimator_type="classifier",
        target_tags=TargetTags(required=True),
        classifier_tags=ClassifierTags(),
        input_tags=InputTags(),
    )


def classes_of(self: Any, X: Any, y: Any) -> tuple[Any, Any, Any]:
    """(X [N D] float32, the classes, labels [N] in 0..C-1), checked as scikit-learn."""
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import validate_data

    X, y = validate_data(self, X, y, dtype=np.float32)
    check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y holds one class only: {classes[0]!r}")
    return X, classes, labels


def seen(self: Any, X: Any) -> Any:
    """X [N D] float32 of a fitted estimator, checked as scikit-learn does."""
    from sklearn.utils.validation import check_is_fitted, validate_data

    check_is_fitted(self)
    return validate_data(self, X, dtype=np.float32, reset=False)


def regressor(cls: type) -> type:
    """Give a class the methods of a scikit-learn regressor, as `classifier` does.

    It is fitted once it has `n_features_in_` and `estimator_` or `probe_`.
    """
    cls = classifier(cls)
    for method in (r_squared, _regression_tags, _regression_fitted):
        setattr(cls, REGRESSION[method.__name__], method)
    return cls


def r_squared(self: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
    """The share of the variance that is explained."""
    from sklearn.metrics import r2_score

    return float(r2_score(y, self.predict(X), sample_weight=sample_weight))


def _regression_tags(self: Any) -> Any:
    from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

    return Tags(
        estimator_type="regressor",
        target_tags=TargetTags(required=True),
        regressor_tags=RegressorTags(),
        input_tags=InputTags(),
    )


def _regression_fitted(self: Any) -> bool:
    return any(hasattr(self, name) for name in ("estimator_", "estimators_", "probe_"))


REGRESSION = {
    "r_squared": "score",
    "_regression_tags": "__sklearn_tags__",
    "_regression_fitted": "__sklearn_is_fitted__",
}
"""A function here, and the method that it becomes."""


def transformer(fitted: str) -> Callable[[type], type]:
    """Give a class the methods of a scikit-learn transformer that needs a target.

    As `classifier` does, without `score`; it is fitted once it has the attribute.
    """

    def own_tags(self: Any) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=True, multi_output=True),
            transformer_tags=TransformerTags(preserves_dtype=["float64"]),
            input_tags=InputTags(),
        )

    def made(cls: type) -> type:
        cls = classifier(cls)
        del cls.score
        cls.__sklearn_tags__ = own_tags
        cls.__sklearn_is_fitted__ = lambda self: hasattr(self, fitted)
        return cls

    return made


def numbers_of(self: Any, X: Any, y: Any) -> tuple[Any, Any]:
    """(X [N D] float32, y [N] float64), two rows or more, as scikit-learn checks."""
    from sklearn.utils.validation import validate_data

    how = dict(dtype=np.float32, y_numeric=True, ensure_min_samples=2)
    X, y = validate_data(self, X, y, **how)
    return X, np.asarray(y, np.float64)


def target_of(X: Any, X_target: Any) -> Any:
    """X_target [M D] float32 of as many columns as X; raises ValueError."""
    from sklearn.utils.validation import check_array

    rows = check_array(X_target, dtype=np.float32, input_name="X_target")
    if rows.shape[1] != X.shape[1]:
        raise ValueError(
            f"X_target has {rows.shape[1]} features, X has {X.shape[1]}: both domains "
            "need the same columns"
        )
    return rows
