"""TrAdaBoost: boosting that lets go of source rows that contradict the target."""

from collections.abc import Callable

import numpy as np

from tl_jax.estimators.boosting.rounds import (
    LEAST,
    MOST,
    Boosted,
    Learner,
    Side,
    drop,
    fitted,
    gathered,
    said,
)

Errors = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(given [N], true [N]) -> errors [N] in 0..1."""


def tradaboost(learn: Learner, source: Side, target: Side, rounds: int = 10) -> Boosted:
    """TrAdaBoost for classes (Dai et al., 2007).

    e_i = [h(x_i) != y_i],  err = sum_target w e / sum_target w
    source: w_i <- w_i b^e_i, b = 1 / (1 + sqrt(2 ln N / rounds))
    target: w_i <- w_i (err / (1 - err))^-e_i

    An err of a half or more counts as 0.499, one of 0 as 1e-10. Several classes as in
    the binary case, their votes ln((1 - err) / err) summed over the later half of the
    rounds (`majority`). ADAPT differs: e_i is the distance of probabilities, b of the
    target err / (2 - err), which is below 1 for every err.
    """
    return _boost(learn, source, target, rounds, different)


def tradaboost_r2(
    learn: Learner, source: Side, target: Side, rounds: int = 10
) -> Boosted:
    """TrAdaBoost.R2 for numbers (Pardoe and Stone, 2010).

    As `tradaboost`, with e_i = |h(x_i) - y_i| / max_k |h(x_k) - y_k| over the rows of
    both sides; says the weighted median of the later half of the rounds. The paper
    stops at an err of a half; here it counts as 0.499, and its round next to nothing.
    """
    return _boost(learn, source, target, rounds, scaled)


def different(given: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1 where wrong."""
    return (given != true).astype(float)


def scaled(given: np.ndarray, true: np.ndarray) -> np.ndarray:
    """|given - true| over its largest; 0 where all is right."""
    far = np.abs(given - true)
    return far / max(float(far.max()), 1e-300)


def _boost(
    learn: Learner, source: Side, target: Side, rounds: int, errors: Errors
) -> Boosted:
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, expected at least 1")
    size = len(source.rows)
    keep = drop(size, rounds)
    weight = np.concatenate([source.weight, target.weight]).astype(float)
    true = np.concatenate([source.targets, target.targets])
    models, votes, found, given = [], [], [], []
    for _ in range(rounds):
        weight = weight / weight.sum()
        model = fitted(learn, source, target, weight)
        e = errors(said(model, source, target), true)
        wrong = float(weight[size:] @ e[size:] / weight[size:].sum())
        kept = min(max(wrong, LEAST), MOST)
        raised = (1 - kept) / kept
        models.append(model)
        votes.append(np.log(raised))
        found.append(wrong)
        given.append(weight)
        factor = np.concatenate([keep ** e[:size], raised ** e[size:]])
        weight = weight * factor
    return gathered(models, votes, found, given, size)
