"""How far apart two domains are, by how well they can be told apart."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.metrics.domain_classifier import (
    STRENGTHS,
    Domains,
    Fit,
    balanced,
    chosen,
    mistakes,
    parts,
    path,
    stacked,
)
from tl_jax.metrics.symmetric import products

WAVES = 256
"""Random features of the kernel map."""
Mapped = Callable[[np.ndarray], np.ndarray]


class Distance(NamedTuple):
    """An estimated distance of two domains, in [0, 2]."""

    value: float
    low: float
    high: float
    """Of resampled rows, the classifiers as given (percentile bootstrap)."""
    errors: tuple[float, float]
    """Shares of source and of target rows that were taken for the other's."""
    rows: tuple[int, int]
    """Source and target rows that were judged."""
    strengths: tuple[float, ...]
    """The penalty chosen in each fold."""
    classifier: str
    dimension: int
    """Coordinates that the classifier is linear in."""


def linear(rows: np.ndarray, rng: np.random.Generator) -> Mapped:
    """The features as they are."""
    return np.asarray


def kernel(rows: np.ndarray, rng: np.random.Generator) -> Mapped:
    """Random Fourier features of a Gaussian kernel (Rahimi and Recht, 2007).

    sqrt(2 / K) cos(x W + b) of standardised rows; the bandwidth is the median distance
    of up to 500 rows. rows [N D] -> a map [N D] -> [N K].
    """
    mean, spread = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    inverse = np.where(spread > 1e-6 * np.abs(rows).max(0), 1 / (spread + 1e-300), 0)
    some = (rows[rng.permutation(len(rows))[:500]] - mean) * inverse
    square = (some**2).sum(1)
    apart = square[:, None] + square - 2 * some @ some.T
    width = math.sqrt(
        max(float(np.median(apart[np.triu_indices(len(some), 1)])), 1e-12)
    )
    waves = rng.normal(size=(rows.shape[1], WAVES)) / width
    phases = rng.uniform(0, 2 * np.pi, WAVES)

    def mapped(rows: np.ndarray) -> np.ndarray:
        return math.sqrt(2 / WAVES) * np.cos((rows - mean) * inverse @ waves + phases)

    return mapped


class Family(NamedTuple):
    """A class of classifiers, as rows that are mapped and then fitted."""

    mapping: Callable[[np.ndarray, np.random.Generator], Mapped]
    fit: Callable[[int], Fit]
    """seed -> how to fit."""
    convex: bool


CLASSIFIERS: Mapping[str, Family] = MappingProxyType(
    {
        "linear": Family(linear, lambda seed: path, True),
        "kernel": Family(kernel, lambda seed: path, True),
        "product": Family(linear, products, False),
    }
)
"""Half-spaces; a Gaussian kernel's; where two half-spaces differ (H delta H)."""


def proxy_a_distance(
    source: ArrayLike,
    target: ArrayLike,
    *,
    classifier: str = "linear",
    folds: int = 5,
    seed: int = 0,
    strengths: tuple[float, ...] = STRENGTHS,
    level: float = 0.95,
) -> Distance:
    """max(0, 2 (1 - 2 err)), err the held-out error of a tuned domain classifier.

    (Ben-David et al., 2007, 2010; Glorot et al., 2011.) 0: nothing tells the domains
    apart; 2: every row is told. err averages the two domains' error rates, so that
    sizes don't matter. Each row is judged by the one of `folds` classifiers that never
    saw it, whose penalty was chosen on an inner quarter of the rows it did see.

    The interval resamples judged rows; it is degenerate at 2, where no row was wrong:
    `bound.hoeffding` gives a guarantee. DANN's authors take a linear SVM, half of the
    rows each way and the least test error over its constants, which is optimistic.
    TLlib's `a_distance.calculate` trains a network for ten epochs, clips nothing and
    reports the last epoch on 20 % of the rows.

    source [S D], target [T D]; classifier one of `CLASSIFIERS`. Raises ValueError for
    another name, fewer rows than folds need and what `stacked` raises for.
    """
    rng, family = np.random.default_rng(seed), _family(classifier)
    domains = _mapped(stacked(source, target), family, rng)
    counts = _counts(domains)
    if folds < 2 or min(counts) < 4 * folds:
        raise ValueError(
            f"folds is {folds} with {counts[0]} source and {counts[1]} target rows, "
            "expected at least 2, and 4 rows of each domain a fold"
        )
    part = parts(domains.is_target, folds, rng)
    wrong, picked = np.empty(len(part)), []
    for fold in range(folds):
        held = part == fold
        found = chosen(
            domains,
            ~held,
            judge=mistakes,
            rng=rng,
            strengths=strengths,
            fit=family.fit(seed),
            again=family.convex,
        )
        wrong[held] = mistakes(found(domains.rows[held]), domains.is_target[held])
        picked.append(found.strength)
    low, high = _interval(wrong, domains.is_target, rng, level)
    return _distance(domains, wrong, low, high, picked, classifier)


def h_divergence(
    source: ArrayLike,
    target: ArrayLike,
    *,
    classifier: str = "linear",
    seed: int = 0,
    strengths: tuple[float, ...] = STRENGTHS,
    level: float = 0.95,
) -> Distance:
    """2 (1 - min_h [err_source(h) + err_target(h)]) on the very rows h was fitted on.

    The empirical H-divergence of Ben-David et al. (2010, Lemma 2). The minimum over a
    class is NP-hard, so the least error of what is fitted with all `strengths` stands
    for it: a lower bound of the empirical divergence. That in turn is above the
    true one, most with few rows in many dimensions, where it is 2 for any two domains;
    `bound.vc_slack` says by how much. Arguments and raises as `proxy_a_distance`.
    """
    rng, family = np.random.default_rng(seed), _family(classifier)
    domains = _mapped(stacked(source, target), family, rng)
    fitted = family.fit(seed)(domains, np.ones(len(domains.rows), bool), strengths)
    wrongs = [mistakes(one(domains.rows), domains.is_target) for one in fitted]
    errors = [balanced(wrong, domains.is_target) for wrong in wrongs]
    best = int(np.argmin(errors))
    low, high = _interval(wrongs[best], domains.is_target, rng, level)
    picked = [fitted[best].strength]
    return _distance(domains, wrongs[best], low, high, picked, classifier)


def _family(classifier: str) -> Family:
    if classifier not in CLASSIFIERS:
        known = ", ".join(CLASSIFIERS)
        raise ValueError(f"classifier is {classifier!r}, expected one of {known}")
    return CLASSIFIERS[classifier]


def _mapped(domains: Domains, family: Family, rng: np.random.Generator) -> Domains:
    """The domains as a classifier sees them."""
    mapped = family.mapping(domains.rows, rng)
    return domains._replace(rows=mapped(domains.rows))


def _counts(domains: Domains) -> tuple[int, int]:
    return int((~domains.is_target).sum()), int(domains.is_target.sum())


def _value(error: ArrayLike) -> np.ndarray:
    return np.maximum(0.0, 2 * (1 - 2 * np.asarray(error)))


def _interval(
    wrong: np.ndarray,
    is_target: np.ndarray,
    rng: np.random.Generator,
    level: float,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentiles of the distance over rows drawn anew within each domain."""
    sides = [wrong[~is_target], wrong[is_target]]
    drawn = [rng.choice(side, (resamples, len(side))).mean(1) for side in sides]
    ends = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(_value((drawn[0] + drawn[1]) / 2), ends)
    return float(low), float(high)


def _distance(domains, wrong, low, high, picked, classifier) -> Distance:
    is_target = domains.is_target
    return Distance(
        float(_value(balanced(wrong, is_target))),
        low,
        high,
        (float(wrong[~is_target].mean()), float(wrong[is_target].mean())),
        _counts(domains),
        tuple(picked),
        classifier,
        domains.rows.shape[1],
    )
