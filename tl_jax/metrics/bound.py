"""The three terms that bound the error on a target (Ben-David et al., 2010)."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.ridge import ridge
from tl_jax.metrics.divergence import Distance, h_divergence, proxy_a_distance
from tl_jax.metrics.domain_classifier import parts, stacked

JOINT = (10.0, 1.0, 0.1, 0.01)
"""Penalties of the probe that both domains train."""
FOLDS = 3
UNKNOWN = (
    "The ideal joint error is unknown: it needs labels of the target. Where it is "
    "large no adaptation of these features helps, however close the domains are."
)


class Term(NamedTuple):
    """One term of the bound, as errors in 0..1 are."""

    value: float
    low: float
    high: float
    """Of resampled rows, the fits as given (percentile bootstrap)."""
    least: float
    most: float
    """What holds at the level whatever the distribution; NaN where `how` says why."""
    how: str
    """How `least` and `most` were found."""


class Bound(NamedTuple):
    """target error <= source + half_divergence + ideal."""

    source: Term
    """Error of the model on held-out source rows."""
    half_divergence: Term
    """1/2 d_HdH: how well two half-spaces of the features tell the domains apart."""
    ideal: Term | None
    """Least error on both domains together; None where target labels are closed."""
    target: Term | None
    """What is bounded, where target labels are open."""
    total: float | None
    """The sum; None where `ideal` is."""
    note: str


def hoeffding(rows: int, *, level: float = 0.95) -> float:
    """sqrt(log(2 / (1 - level)) / (2 rows)): a mean of 0..1 is as close as that.

    Two-sided (Hoeffding, 1963), for rows that the classifier never saw.
    """
    return math.sqrt(math.log(2 / (1 - level)) / (2 * rows))


def vc_slack(rows: int, dimension: int, *, level: float = 0.95) -> float:
    """4 sqrt((2 d log(2 m) + log(2 / (1 - level))) / m): what m rows hide of d_HdH.

    (Ben-David et al., 2010, Theorem 2.) `dimension` is the VC dimension of H, for
    half-spaces of D coordinates D + 1; m the rows of each domain. Above 2 it says
    nothing, which is so for all but a few coordinates and very many rows.
    """
    inside = 2 * dimension * math.log(2 * rows) + math.log(2 / (1 - level))
    return 4 * math.sqrt(inside / rows)


def ben_david(
    source_features: ArrayLike,
    source_logits: ArrayLike,
    source_labels: ArrayLike,
    target_features: ArrayLike,
    *,
    target_logits: ArrayLike | None = None,
    target_labels: ArrayLike | None = None,
    classifier: str = "product",
    distance: Distance | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Bound:
    """error_target(h) <= error_source(h) + 1/2 d_HdH + lambda (Ben-David et al., 2010).

    H are half-spaces of the given features, so an adapted body has terms of its own:
    compute them before and after. d_HdH is the held-out proxy distance of products of
    two half-spaces (`classifier="product"`), from below as every estimate by a found
    classifier; "linear" is quicker, and lower still. lambda = min_h error_source(h) +
    error_target(h) is the held-out error of a ridge probe of the classes that trains on
    both domains with labels, each weighing alike: from above. It needs `target_labels`,
    which are for evaluators alone: without them it is unknown, and so is the sum. With
    more than two classes the errors are those of the classes, and the sum is no
    theorem.

    source_features [S D], source_logits [S C] and source_labels [S] of rows the model
    did not train on, target_features [T D], target_labels [T], target_logits [T C] for
    the error that is bounded, `distance` where the proxy of this `classifier` was found
    already. Raises ValueError for what doesn't fit together.
    """
    labels = np.asarray(source_labels)
    wrong = _wrong("source", source_logits, labels)
    options = {"classifier": classifier, "seed": seed, "level": level}
    rng = np.random.default_rng(seed)
    source = _error([wrong], rng, level)
    given = source_features, target_features
    held = distance or proxy_a_distance(*given, **options)
    half = _half(held, h_divergence(*given, **options), level)
    if target_labels is None:
        return Bound(source, half, None, None, None, UNKNOWN)
    truth = np.asarray(target_labels)
    target = None
    if target_logits is not None:
        target = _error([_wrong("target", target_logits, truth)], rng, level)
    classes = int(max(labels.max(), truth.max())) + 1
    pair = source_features, labels, target_features, truth
    sides = _joint(*pair, classes=classes, rng=rng)
    ideal = _error(sides, rng, level)._replace(
        least=math.nan,
        most=math.nan,
        how="several fits judged these rows: no inequality holds for their mean",
    )
    total = source.value + half.value + ideal.value
    note = "A bound above 1 says nothing." if total >= 1 else ""
    return Bound(source, half, ideal, target, total, note)


def _wrong(name: str, logits: ArrayLike, labels: np.ndarray) -> np.ndarray:
    """1 where a row is wrong. logits [N C], labels [N] -> [N]."""
    logits = np.asarray(logits)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"{name}: logits have shape {logits.shape}, labels {labels.shape}, "
            "expected [rows classes] and [rows]"
        )
    return (logits.argmax(-1) != labels).astype(np.float64)


def _error(sides: list[np.ndarray], rng: np.random.Generator, level: float) -> Term:
    """Sum of the sides' mean errors, with both intervals."""
    value = float(sum(side.mean() for side in sides))
    drawn = sum(rng.choice(side, (2000, len(side))).mean(1) for side in sides)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    radius = hoeffding(len(sides[0]), level=level)
    ends = max(0.0, value - radius), min(1.0, value + radius)
    return Term(value, float(low), float(high), *ends, "Hoeffding, 1963")


def _half(held: Distance, fitted: Distance, level: float) -> Term:
    """1/2 d_HdH, held out; at most the in-sample one and the VC term."""
    slack = vc_slack(min(held.rows), held.dimension + 1, level=level)
    return Term(
        held.value / 2,
        held.low / 2,
        held.high / 2,
        math.nan,
        min(1.0, (max(fitted.value, held.value) + slack) / 2),
        f"in-sample divergence {fitted.value:.3f} + VC term {slack:.3g}, halved, at "
        "most 1; if the search found the best classifier",
    )


def _joint(
    source: ArrayLike,
    labels: np.ndarray,
    target: ArrayLike,
    truth: np.ndarray,
    *,
    classes: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Held-out mistakes on source and target of probes trained on both."""
    domains = stacked(source, target)
    both = np.concatenate([labels, truth])
    if len(both) != len(domains.rows):
        raise ValueError(
            f"{len(labels)} source and {len(truth)} target labels for "
            f"{len(domains.rows)} rows of features"
        )
    part = parts(domains.is_target, FOLDS, rng)
    wrong = np.empty(len(both))
    targets = 2.0 * np.eye(classes)[both] - 1
    for fold in range(FOLDS):
        held = part == fold
        mine, sides = ~held, domains.is_target[~held]
        weight = np.where(sides, 1 / sides.sum(), 1 / (~sides).sum())
        rows = domains.rows[mine]
        probe = ridge(rows, targets[mine], JOINT, weight=weight * len(rows) / 2)
        logits = domains.rows[held] @ np.asarray(probe.kernel) + np.asarray(probe.bias)
        wrong[held] = logits.argmax(-1) != both[held]
    return [wrong[~domains.is_target], wrong[domains.is_target]]
