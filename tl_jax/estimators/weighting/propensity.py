"""Weights from a classifier that tells target rows from source rows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.linear_probe import STRENGTHS
from tl_jax.estimators.logistic import Problem, regularisation_path
from tl_jax.estimators.standard import standard
from tl_jax.estimators.weighting.platt import Platt, log_loss, platt
from tl_jax.estimators.weighting.weights import Weights, count, positive, two_sides


class PropensityRatio(NamedTuple):
    """x -> exp(calibrated log odds of target) / odds of the sides."""

    kernel: np.ndarray
    """[D'] of expanded rows."""
    bias: float
    platt: Platt
    odds: float
    """Target to source, as the classifier was taught."""
    quadratic: bool
    middle: np.ndarray
    """[D] what squares are taken about."""

    def __call__(self, rows: ArrayLike) -> np.ndarray:
        """rows [B D] -> [B]."""
        rows = np.asarray(rows, np.float64) - self.middle
        logits = expanded(rows, self.quadratic) @ self.kernel
        return np.exp(self.platt(logits + self.bias)) / self.odds


def propensity(
    source: ArrayLike,
    target: ArrayLike,
    *,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = 5,
    quadratic: bool = False,
    calibrate: bool = True,
    odds: float | None = None,
    seed: int = 0,
) -> Weights:
    """Density ratios by logistic regression (Bickel et al., 2009).

    w(x) = p(target | x) / p(source | x) * p(source) / p(target)

    The last factor corrects for the numbers of rows: `odds` is target to source as the
    classifier saw them, M / N by default. Every row's log odds come from a classifier
    that did not see it (`folds`, of both sides alike), which matters in many
    dimensions, where a row's own classifier is too sure of it. `strengths` of the L2
    penalty (as in `linear_probe.fit`) are chosen by the log loss of rows left out.
    `calibrate`: the log odds become a s + c with a, c fitted on rows left out (Platt,
    1999). `quadratic` gives the classifier each feature's square about its mean too:
    normals that differ in variance have log ratios of that form.

    `values` are by the classifiers that did not see the row; `ratio`, for new rows, by
    one fitted on all of them with the same calibration. skada's discriminator scores
    the rows that it was trained on and leaves odds and calibration alone.

    source [N D], target [M D] -> values [N]; `found`: strength, `loss` by strength,
    slope and shift of the calibration, and `skill`, how much of the loss of knowing
    nothing is gone (0 where the sides can't be told apart). Raises ValueError for rows
    that do not fit or are not finite and for more folds than rows of a side.
    """
    source, target = two_sides(source, target)
    odds = len(target) / len(source) if odds is None else odds
    positive("odds", odds)
    count("folds", folds, 2)
    if folds > min(len(source), len(target)):
        raise ValueError(f"{folds} folds of {len(source)} and {len(target)} rows")
    order = np.argsort(-np.asarray(strengths, float), kind="stable")
    strengths = tuple(float(strengths[i]) for i in order)
    for strength in strengths:
        positive("strength", strength)
    rows = np.concatenate([source, target])
    middle = rows.mean(0)
    rows = expanded(rows - middle, quadratic)
    side = np.repeat([0, 1], [len(source), len(target)])
    scores = _left_out(rows, side, strengths, folds, seed)
    losses = {s: log_loss(x, side) for s, x in zip(strengths, scores, strict=True)}
    best = min(losses, key=losses.get)
    logits = scores[strengths.index(best)]
    scale = platt(logits, side) if calibrate else Platt(1.0, 0.0)
    kernels, biases = _path(rows, side, np.ones(len(rows)), strengths)
    at = strengths.index(best)
    ratio = PropensityRatio(kernels[at], biases[at], scale, odds, quadratic, middle)
    values = np.exp(scale(logits[side == 0])) / odds
    blind = log_loss(np.full(len(side), np.log(side.mean() / (1 - side.mean()))), side)
    found = {"strength": best, "loss": losses, "slope": scale.slope}
    found |= {"shift": scale.shift, "skill": 1 - log_loss(scale(logits), side) / blind}
    return Weights(values, ratio, found)


def expanded(rows: np.ndarray, quadratic: bool) -> np.ndarray:
    """[N D] -> [N D] or [N 2 D], squares beside."""
    return np.concatenate([rows, rows**2], 1) if quadratic else rows


def _left_out(
    rows: np.ndarray, side: np.ndarray, strengths: tuple, folds: int, seed: int
) -> np.ndarray:
    """Log odds [S N] by classifiers that did not see the row."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(rows), int)
    for one in (0, 1):
        own = np.flatnonzero(side == one)
        fold[own] = rng.permutation(len(own)) % folds
    scores = np.empty((len(strengths), len(rows)))
    for number in range(folds):
        out = fold == number
        kernels, biases = _path(rows, side, (~out).astype(float), strengths)
        scores[:, out] = kernels @ rows[out].T + biases[:, None]
    return scores


def _path(
    rows: np.ndarray, side: np.ndarray, weight: np.ndarray, strengths: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of target: kernels [S D'] and biases [S], on the rows of weight 1.

    A fold is left out by its weight: all solves have one shape, and compile once.
    """
    features = jnp.asarray(rows, jnp.float32)
    weight = jnp.asarray(weight / weight.sum(), jnp.float32)
    scale = standard(features, weight)
    problem = Problem(scale(features), jnp.asarray(side), weight, jnp.float32(0))
    given = jnp.asarray(strengths, jnp.float32)
    heads, _ = regularisation_path(problem, given, 2, 1e-6, 1000)
    kernels, biases = scale.fold(heads.kernel, heads.bias)
    kernels, biases = np.asarray(kernels, float), np.asarray(biases, float)
    return kernels[:, :, 1] - kernels[:, :, 0], biases[:, 1] - biases[:, 0]
