"""Did transfer help? Ratios and paired tests against training from scratch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.metrics.intervals import Interval

EXACT = 14
"""Up to so many differing examples all sign patterns are counted."""


class Verdict(NamedTuple):
    """The outcome of `negative_transfer`."""

    verdict: str
    """"positive", "negative" or "no difference"."""
    p: float
    """Two-sided, of the sign-flip test over examples."""
    difference: float
    """Mean score minus mean score from scratch."""
    p_seeds: float
    """Two-sided, of the paired t test over seeds; NaN with a single seed."""


def gain_interval(gains: ArrayLike, *, level: float = 0.95) -> Interval:
    """The mean of paired gains and its t interval, over seeds or over pairs of domains.

    mean +- t_{S-1} sd / sqrt(S) (Student, 1908). gains [S]: score minus reference of
    each; the ends are NaN with fewer than two. Raises ValueError for none, or for a
    gain that is not finite.
    """
    from scipy import stats

    gains = np.asarray(gains, np.float64)
    if gains.ndim != 1 or not gains.size or not np.isfinite(gains).all():
        raise ValueError(f"gains are {gains}, expected [S] finite numbers")
    mean, count = float(gains.mean()), len(gains)
    if count < 2:
        return Interval(mean, float("nan"), float("nan"))
    half = gains.std(ddof=1) / np.sqrt(count)
    half *= stats.t.ppf((1 + level) / 2, count - 1)
    return Interval(mean, float(mean - half), float(mean + half))


def transfer_ratio(score: ArrayLike, scratch: ArrayLike) -> float:
    """Mean score over mean score from scratch: above 1 transfer helps.

    (Taylor and Stone, 2009.) For scores where higher is better. score, scratch:
    numbers or arrays over seeds. Raises ValueError unless scratch's mean is positive.
    """
    score, scratch = float(np.mean(score)), float(np.mean(scratch))
    if not scratch > 0:
        raise ValueError(f"score from scratch is {scratch}, expected above 0")
    return score / scratch


def negative_transfer(
    scores: ArrayLike,
    scratch_scores: ArrayLike,
    *,
    level: float = 0.05,
    resamples: int = 10_000,
    seed: int = 0,
) -> Verdict:
    """Is transfer worse than scratch on the same test rows and seeds?

    The test is Fisher's paired randomisation over examples (Fisher, 1935; Yeh, 2000,
    for system comparison): d_n is example n's difference, averaged over seeds; if
    nothing differs each d_n is as likely as -d_n. p is the share of sign patterns
    with |sum| at least that of the data: of all patterns when at most 14 examples
    differ, else of `resamples` drawn ones, the data's own counted in. With one seed
    of 0/1 scores it is McNemar's exact test.

    It takes the seeds as given; `p_seeds`, a paired t test of the seeds' means,
    speaks of seeds, and is weak with few of them.

    scores, scratch_scores: [S N] of S seeds and N examples, or [N]; higher is better
    (1 for a right prediction, 0 for a wrong one). Raises ValueError for shapes that
    differ and for scores that are not finite.
    """
    scores, scratch = _scores(scores, scratch_scores)
    differences = (scores - scratch).mean(0)
    p = _sign_flip(differences, resamples, np.random.default_rng(seed))
    mean = float(differences.mean())
    verdict = "no difference"
    if p < level:
        verdict = "positive" if mean > 0 else "negative"
    return Verdict(verdict, p, mean, _paired_t((scores - scratch).mean(1)))


def _scores(scores: ArrayLike, scratch: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """float64 [S N] of both."""
    scores, scratch = np.asarray(scores, np.float64), np.asarray(scratch, np.float64)
    if scores.shape != scratch.shape or scores.ndim not in (1, 2) or not scores.size:
        raise ValueError(
            f"scores have shape {scores.shape}, scratch_scores {scratch.shape}; "
            "expected [S N] or [N] of one shape"
        )
    if not (np.isfinite(scores).all() and np.isfinite(scratch).all()):
        raise ValueError("a score is not finite")
    return np.atleast_2d(scores), np.atleast_2d(scratch)


def _sign_flip(
    differences: np.ndarray, resamples: int, rng: np.random.Generator
) -> float:
    """p of |sum| under random signs. differences [N]."""
    sizes = np.abs(differences[differences != 0])
    bound = abs(differences.sum()) * (1 - 1e-9) - 1e-12
    if len(sizes) <= EXACT:
        bits = np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes)) & 1
        return float((np.abs((2 * bits - 1) @ sizes) >= bound).mean())
    # n equal sizes with random signs sum to size (2 Binomial(n, 1/2) - n).
    total = np.zeros(resamples)
    sizes, counts = np.unique(sizes.round(12), return_counts=True)
    for size, count in zip(sizes, counts, strict=True):
        total += size * (2 * rng.binomial(count, 0.5, resamples) - count)
    return float((1 + (np.abs(total) >= bound).sum()) / (1 + resamples))


def _paired_t(differences: np.ndarray) -> float:
    """p of a two-sided t test that the mean is 0. differences [S]."""
    from scipy import stats

    if len(differences) < 2:
        return float("nan")
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
