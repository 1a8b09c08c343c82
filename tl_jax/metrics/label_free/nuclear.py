"""The nuclear norm of predictions."""

import numpy as np

from tl_jax.metrics.label_free.evidence import Evidence, check, odds


def nuclear(evidence: Evidence) -> float:
    """Nuclear norm of the target's predictions over their number; higher is better.

    |P|_* / T, P [T C] the rows of softmax (Cui et al., 2020): large where predictions
    are sure and varied. Between 1 / sqrt(T) and sqrt(min(T, C) / T), so it compares
    models on the same rows only. pytorch-adapt's BNMValidator is the same; the paper
    trains by it in batches and scores no model.
    """
    shares = odds(check(evidence).target_logits)
    return float(np.linalg.svd(shares, compute_uv=False).sum() / len(shares))
