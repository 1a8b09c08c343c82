"""Soft neighbourhood density."""

import numpy as np

from tl_jax.metrics.label_free.entropy import entropies
from tl_jax.metrics.label_free.evidence import Evidence, check, odds

ROWS = 1024
"""Rows whose similarities to all others are in memory at once."""


def neighbourhood(evidence: Evidence, *, temperature: float = 0.05) -> float:
    """How many close neighbours a target row has (Saito et al., 2021); more is better.

    1/T sum_i H(q_i), q_ij = softmax over j != i of cos(p_i, p_j) / temperature, p the
    softmax of a row's logits. High where rows form dense clusters; a model that says
    the same of all rows is best by it. pytorch-adapt's SNDValidator is the same;
    skada's SoftNeighborhoodDensity keeps a row beside the others, with the negative of
    its similarity, which weighs e^-20 at most.

    Raises ValueError for one row alone and a temperature that is not positive.
    """
    shares = odds(check(evidence).target_logits)
    if len(shares) < 2:
        raise ValueError("target_logits has one row, neighbours need two")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected above 0")
    unit = shares / np.linalg.norm(shares, axis=1, keepdims=True)
    total = 0.0
    for first in range(0, len(unit), ROWS):
        close = unit[first : first + ROWS] @ unit.T / temperature
        own = np.arange(len(close))
        close[own, first + own] = -np.inf
        total += entropies(odds(close)).sum()
    return float(total / len(unit))
