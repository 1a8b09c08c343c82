"""Weights of the source's rows by their classes, whose shares the target changes."""

import jax
import numpy as np

from tl_jax import estimators
from tl_jax.estimators import weighting
from tl_jax.estimators.weighting import Weights

STRENGTH = 1e-2
"""Of the linear probe that tells classes apart."""


def bbse(
    source: np.ndarray, target: np.ndarray, labels: np.ndarray, *, hard: bool = False
) -> Weights:
    """`weighting.bbse` by a linear probe of features, each half judged by the other's.

    source [N D] with labels [N], target [M D].
    """

    def ratio(held, known, shown, fitted):
        return weighting.bbse(held, known, shown, hard=hard)

    return _crossed(source, target, labels, ratio)


def em(source: np.ndarray, target: np.ndarray, labels: np.ndarray) -> Weights:
    """`weighting.em` by a linear probe of features, fitted on each half in turn.

    source [N D] with labels [N], target [M D].
    """

    def ratio(held, known, shown, fitted):
        return weighting.em(shown, np.bincount(fitted) / len(fitted))

    return _crossed(source, target, labels, ratio)


def _crossed(source, target, labels, ratio) -> Weights:
    """Weights of both halves' estimates, averaged; the same rows give the same."""
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}, expected classes, not numbers")
    classes, count = int(labels.max()) + 1, len(labels)
    order = np.random.default_rng(0).permutation(count)
    halves = order[: count // 2], order[count // 2 :]
    found = []
    for fitted, held in (halves, halves[::-1]):
        probe = estimators.fit(
            source[fitted], labels[fitted], classes=classes, strengths=(STRENGTH,)
        )

        def shares(rows: np.ndarray, probe=probe) -> np.ndarray:
            return np.asarray(jax.nn.softmax(rows @ probe.kernel + probe.bias))

        one = ratio(shares(source[held]), labels[held], shares(target), labels[fitted])
        found.append(one.ratio)
    mean = np.mean(found, axis=0)
    told = {f"class {i}": float(own) for i, own in enumerate(mean)}
    return Weights(mean[labels], found=told)
