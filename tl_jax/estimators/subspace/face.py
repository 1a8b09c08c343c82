"""The closed-form alignments as scikit-learn knows estimators."""

from collections.abc import Callable
from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.face import LinearProbe
from tl_jax.estimators.protocol import classes_of, classifier, seen, target_of
from tl_jax.estimators.subspace.maps import Alignment
from tl_jax.tree import one_of

DOMAINS = ("source", "target")


def aligned(method: Callable[..., Alignment], supervised: bool = False) -> Callable:
    """Give a class with an `estimator` the methods of all faces of a `method`.

    `method(source, target, source_weight=, target_weight=, ...)` is called with the
    constructor's other arguments, or with what the class's own `_options(X, X_target,
    y)` returns. `supervised` methods need labels of the target.
    """

    def faced(cls: type) -> type:
        cls._method, cls._supervised = staticmethod(method), supervised
        for own in (fit, transform, fit_transform, predict, _base, _options):
            if own.__name__ not in vars(cls):
                setattr(cls, own.__name__, own)
        for name in ("predict_proba", "predict_log_proba", "decision_function"):
            setattr(cls, name, _of_base(name))
        cls = classifier(cls)
        plain = cls.__sklearn_tags__
        cls.__sklearn_tags__ = lambda self: _with_transform(plain(self))
        return cls

    return faced


def _with_transform(tags: Any) -> Any:
    from sklearn.utils import TransformerTags

    tags.transformer_tags = TransformerTags(preserves_dtype=["float32"])
    return tags


def fit(
    self: Any,
    X: ArrayLike,
    y: ArrayLike,
    X_target: ArrayLike | None = None,
    y_target: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    target_weight: ArrayLike | None = None,
) -> Self:
    """Align X [N D] with X_target [M D], then fit the base on what X became and y.

    Without X_target the base is fitted on X. With y_target [M] the labelled target rows
    train the base as well. Weights [N] and [M] count in the alignment and, where they
    are given, in the base. The alignment is computed in float64. After `fit`:
    `estimator_`, `classes_`, `alignment_` (None without a target).
    """
    X, self.classes_, _ = classes_of(self, X, y)
    y = np.asarray(y).ravel()
    sample_weight, target_weight = (
        None if given is None else np.asarray(given, np.float32)
        for given in (sample_weight, target_weight)
    )
    rows, labels, weight = X, y, sample_weight
    self.alignment_ = None
    if X_target is not None:
        X_target = target_of(X, X_target)
        weights = dict(source_weight=sample_weight, target_weight=target_weight)
        rows, labels, weight = _brought_together(
            self, X, y, X_target, y_target, weights
        )
    elif y_target is not None or target_weight is not None:
        raise ValueError("y_target and target_weight need X_target")
    given = {} if weight is None else {"sample_weight": weight}
    self.estimator_ = self._base().fit(rows, labels, **given)
    return self


def _brought_together(
    self: Any, X: Any, y: Any, X_target: Any, y_target: Any, weights: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Align the domains; rows, labels and weights that the base is fitted on."""
    _check(self, y_target)
    options = self._options(X, X_target, y) | weights
    self.alignment_ = _aligned(self._method, X, X_target, options)
    rows = np.asarray(self.alignment_.source(X))
    if y_target is None:
        return rows, y, weights["source_weight"]
    y_target = _target_labels(y_target, X_target, self.classes_)
    rows = np.concatenate([rows, np.asarray(self.alignment_.target(X_target))])
    weight = _joint(weights, len(X), len(X_target))
    return rows, np.concatenate([y, y_target]), weight


def _options(self: Any, X: np.ndarray, X_target: np.ndarray, y: np.ndarray) -> dict:
    """What the method is called with beside rows and weights."""
    return {k: v for k, v in self.get_params(deep=False).items() if k != "estimator"}


def _aligned(method: Any, X: Any, X_target: Any, options: dict) -> Alignment:
    """Fitted in float64, kept in float32."""
    with jax.enable_x64(True):
        found = method(X, X_target, **options)
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), found)


def _target_labels(y_target: Any, X_target: Any, classes: Any) -> np.ndarray:
    y_target = np.asarray(y_target).ravel()
    if len(y_target) != len(X_target):
        raise ValueError(f"{len(y_target)} y_target for {len(X_target)} rows")
    if strange := sorted(set(y_target.tolist()) - set(classes.tolist())):
        raise ValueError(
            f"y_target holds {strange[0]!r}, which y lacks; y's are {classes.tolist()}"
        )
    return y_target


def _joint(weights: Any, *counts: int) -> np.ndarray | None:
    """Weights of both domains' rows, 1 where none are given."""
    if all(weight is None for weight in weights.values()):
        return None
    pairs = zip(weights.values(), counts, strict=True)
    return np.concatenate([np.ones(n) if w is None else w for w, n in pairs])


def transform(self: Any, X: ArrayLike, domain: str = "target") -> np.ndarray:
    """Rows [N D] of a domain, `source` or `target`, in the shared space [N E]."""
    one_of("domain", domain, DOMAINS)
    X = seen(self, X)
    if self.alignment_ is None:
        return X
    return np.asarray(getattr(self.alignment_, domain)(X))


def fit_transform(self: Any, X: ArrayLike, y: ArrayLike, **given: Any) -> np.ndarray:
    """`fit`, then the source rows X in the shared space [N E]."""
    return self.fit(X, y, **given).transform(X, "source")


def predict(self: Any, X: ArrayLike, domain: str = "target") -> np.ndarray:
    """Labels [N] of rows of a domain, of the kind that was fitted."""
    rows = self.transform(X, domain)
    return self.estimator_.predict(rows)


def _of_base(name: str) -> property:
    """A method of the base on what the rows become; lacking where the base lacks it."""

    def get(self: Any) -> Callable[..., np.ndarray]:
        base = getattr(self, "estimator_", None)
        method = getattr(self._base() if base is None else base, name)
        return lambda X, domain="target": method(self.transform(X, domain))

    return property(get, doc=f"`{name}(X, domain)` of the base [N C].")


def _base(self: Any) -> Any:
    """A fresh base classifier."""
    from sklearn.base import clone

    return LinearProbe() if self.estimator is None else clone(self.estimator)


def _check(self: Any, y_target: Any) -> None:
    """Raises ValueError where a method needs target labels that are not given."""
    if self._supervised and y_target is None:
        raise ValueError(
            f"{type(self).__name__} learns from target labels: give y_target, "
            "or take a method that needs none, such as CORAL"
        )
