"""Risk on held-out source rows, as they are and as if they were the target's."""

from collections.abc import Callable

import numpy as np

from tl_jax.metrics import task
from tl_jax.metrics.label_free.evidence import Evidence, check
from tl_jax.metrics.label_free.ratio import density_ratio

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(logits [S C], labels [S]) -> losses [S]."""


def mistakes(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the largest logit is not the label's, else 0. [N C], [N] -> [N]."""
    return 1.0 - task.correct(logits, labels)


def source_risk(evidence: Evidence, *, loss: Loss = mistakes) -> float:
    """Mean loss of held-out source rows; lower is better. It ignores the shift."""
    evidence = check(evidence)
    return float(loss(evidence.source_logits, evidence.source_labels).mean())


def weights_of(evidence: Evidence) -> np.ndarray:
    """[S] p_target / p_source: the evidence's own, else found on its features."""
    if evidence.weights is not None:
        return np.asarray(evidence.weights)
    given = evidence.train_features, evidence.target_features
    return density_ratio(*given, rows=evidence.source_features)


def iwcv(
    evidence: Evidence, *, loss: Loss = mistakes, self_normalised: bool = False
) -> float:
    """Importance-weighted validation (Sugiyama et al., 2007); lower is better.

    1/S sum_s w(x_s) loss(x_s, y_s), w = p_target / p_source: the target's risk where
    only the inputs' distribution differs, the ratio is right, and the source's rows
    cover the target's. `self_normalised` divides by sum_s w instead of S: a little
    bias for less variance. The folds are the caller's: a row's prediction comes from
    a model that did not train on it.

    skada's ImportanceWeightedScorer normalises the weights and takes them from two
    kernel densities; ADAPT has none. Raises as `check` does.
    """
    evidence = check(evidence)
    weights = weights_of(evidence)
    losses = weights * loss(evidence.source_logits, evidence.source_labels)
    if not self_normalised:
        return float(losses.mean())
    if not weights.sum() > 0:
        raise ValueError("every weight is zero: no source row is like the target")
    return float(losses.sum() / weights.sum())


def dev(evidence: Evidence, *, loss: Loss = task.negative_log_likelihoods) -> float:
    """Deep embedded validation (You et al., 2019); lower is better.

    mean(w l) + eta mean(w) - eta, eta = -Cov(w l, w) / Var(w): the weighted risk with
    a control variate, as E w = 1 is known. w is a ratio on the model's own features.
    Weights that don't vary need no control: eta is 0 then. The estimate can be below 0.

    pytorch-adapt's DeepEmbeddedValidator, after the paper's code, takes the ratio from
    a network of two layers whose decay is chosen by accuracy, and can rescale the
    weights; skada's DeepEmbeddedValidation from scikit-learn's logistic regression,
    with a third of the source's rows as the held-out ones, and (0.6.0) multiplies
    every weight with every loss. Here it is a logistic regression with the strength of
    least held-out log loss. Given the weights, and skada's losses as a column, all
    three are equal.
    """
    evidence = check(evidence)
    if len(evidence.source_labels) < 2:
        raise ValueError("one source row is held out, a variance needs two")
    weights = weights_of(evidence)
    losses = weights * loss(evidence.source_logits, evidence.source_labels)
    spread = weights.var(ddof=1)
    both = np.cov(losses, weights)[0, 1]
    eta = -both / spread if spread > 0 else 0.0
    return float(losses.mean() + eta * weights.mean() - eta)
