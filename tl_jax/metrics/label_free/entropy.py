"""How sure and how varied predictions of the target are."""

import numpy as np

from tl_jax.metrics.label_free.evidence import Evidence, check, odds


def entropies(shares: np.ndarray) -> np.ndarray:
    """-sum_c p[c] log p[c], where 0 log 0 is 0. shares [... C] -> [...]."""
    safe = np.where(shares > 0, shares, 1.0)
    return -(shares * np.log(safe)).sum(-1)


def entropy(evidence: Evidence) -> float:
    """Mean entropy of the target's predictions; lower is better.

    1/T sum_t H(p_t), p_t the softmax of a row's logits (Grandvalet and Bengio, 2004;
    Morerio et al., 2018, for choosing). A model that says one class of everything,
    surely, is best by it. pytorch-adapt's EntropyValidator is its negative; skada's
    PredictionEntropyScorer averages over classes too, which is 1/C of it.
    """
    return float(entropies(odds(check(evidence).target_logits)).mean())


def information(evidence: Evidence) -> float:
    """Mutual information of rows and predicted classes; higher is better.

    H(1/T sum_t p_t) - 1/T sum_t H(p_t) (Bridle et al., 1991; Musgrave et al., 2022,
    for choosing): predictions that are sure and not all of one class. It prefers
    balanced classes, be they so or not. As pytorch-adapt's IMValidator.
    """
    shares = odds(check(evidence).target_logits)
    return float(entropies(shares.mean(0)) - entropies(shares).mean())
