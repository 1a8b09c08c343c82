"""Two-stage TrAdaBoost.R2: boosting of the target inside, weights of the source out."""

from typing import NamedTuple

import numpy as np

from tl_jax.estimators.boosting.rounds import (
    LEAST,
    Boosted,
    Learner,
    Side,
    fitted,
    gathered,
    median,
    said,
)
from tl_jax.estimators.boosting.tradaboost import scaled


class TwoStage(NamedTuple):
    """The chosen stage, and how each did."""

    model: Boosted
    chosen: int
    scores: np.ndarray
    """[S] mean absolute error of target rows left out, by stage."""
    shares: np.ndarray
    """[S] of the weight that the target has, by stage."""


def frozen_source(
    learn: Learner, source: Side, target: Side, rounds: int = 10
) -> Boosted:
    """AdaBoost.R2' (Pardoe and Stone, 2010): weights of the source stay.

    err = sum w e over the rows of both sides; target rows w <- w b^(1 - e) with
    b = err / (1 - err), then so scaled that their sum stays. Ends before a round
    whose err is a half or more, but for the first.
    """
    size = len(source.rows)
    weight = np.concatenate([source.weight, target.weight]).astype(float)
    weight = weight / weight.sum()
    true = np.concatenate([source.targets, target.targets])
    models, votes, found, given = [], [], [], []
    for _ in range(rounds):
        model = fitted(learn, source, target, weight)
        e = scaled(said(model, source, target), true)
        wrong = float(weight @ e)
        if wrong >= 0.5 and models:
            break
        kept = min(max(wrong, LEAST), 1 - LEAST)
        models.append(model)
        votes.append(max(np.log((1 - kept) / kept), LEAST))
        found.append(wrong)
        given.append(weight)
        if wrong >= 0.5:
            break
        moved = weight[size:] * (kept / (1 - kept)) ** (1 - e[size:])
        moved *= weight[size:].sum() / moved.sum()
        weight = np.concatenate([weight[:size], moved])
    return gathered(models, votes, found, given, size)


def two_stage(
    learn: Learner,
    source: Side,
    target: Side,
    *,
    stages: int = 10,
    rounds: int = 10,
    folds: int = 5,
    seed: int = 0,
) -> TwoStage:
    """Two-stage TrAdaBoost.R2 (Pardoe and Stone, 2010).

    In each stage `frozen_source` is scored by the mean absolute error of target rows
    left out over `folds`; then source rows w <- w b^e by the errors of one learner,
    with b such that the target's share of the weight rises in equal steps from
    M / (N + M), or what was given, to 1. The stage of the least score is taken.

    ADAPT scores the base learner in place of AdaBoost.R2', takes the errors of
    AdaBoost.R2', and finds b to 1e-3. Raises ValueError for fewer than two stages or
    rounds below 1, and for fewer than two target rows.
    """
    if stages < 2 or rounds < 1:
        raise ValueError(f"stages {stages} and rounds {rounds}, expected >= 2 and >= 1")
    if len(target.rows) < 2:
        raise ValueError("two stages need two target rows at least, to leave one out")
    whole = source.weight.sum() + target.weight.sum()
    source = source._replace(weight=source.weight / whole)
    target = target._replace(weight=target.weight / whole)
    begun = float(target.weight.sum())
    fold = np.random.default_rng(seed).permutation(len(target.rows))
    fold = fold % min(folds, len(target.rows))
    models, scores, shares = [], [], []
    for stage in range(stages):
        models.append(frozen_source(learn, source, target, rounds))
        scores.append(_left_out(learn, source, target, rounds, fold))
        shares.append(float(target.weight.sum()))
        if stage == stages - 1:
            break
        weight = np.concatenate([source.weight, target.weight])
        model = fitted(learn, source, target, weight)
        true = np.concatenate([source.targets, target.targets])
        e = scaled(said(model, source, target), true)
        share = begun + (stage + 1) / (stages - 1) * (1 - begun)
        lowered = lower(source.weight, e[: len(source.rows)], target, share)
        whole = lowered.sum() + target.weight.sum()
        source = source._replace(weight=lowered / whole)
        target = target._replace(weight=target.weight / whole)
    best = int(np.argmin(scores))
    return TwoStage(models[best], best, np.array(scores), np.array(shares))


def lower(
    weight: np.ndarray, errors: np.ndarray, target: Side, share: float
) -> np.ndarray:
    """w b^e [N] with the b by which the target's share of all weight is `share`.

    By bisection on b in 0..1: the sum falls with b. Rows without any error keep their
    weight, so that a share may be out of reach: then b is 0.
    """
    wanted = target.weight.sum() * (1 - share) / share
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if weight @ middle**errors > wanted:
            high = middle
        else:
            low = middle
    return weight * low**errors


def _left_out(
    learn: Learner, source: Side, target: Side, rounds: int, fold: np.ndarray
) -> float:
    """Mean absolute error of target rows by models that did not see them."""
    far = np.empty(len(target.rows))
    for number in range(fold.max() + 1):
        out = fold == number
        kept = Side(*(part[~out] for part in target))
        factor = target.weight.sum() / kept.weight.sum()
        kept = kept._replace(weight=kept.weight * factor)
        model = frozen_source(learn, source, kept, rounds)
        far[out] = np.abs(median(model, target.rows[out]) - target.targets[out])
    return float(far.mean())
