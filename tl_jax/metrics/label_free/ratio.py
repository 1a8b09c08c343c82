"""Ratio of two densities by telling the domains apart."""

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.metrics.domain_classifier import log_losses, tuned


def density_ratio(
    train: ArrayLike, target: ArrayLike, *, rows: ArrayLike, seed: int = 0
) -> np.ndarray:
    """p_target(x) / p_source(x) of rows (Bickel et al., 2007; You et al., 2019).

    exp of the logit of a logistic regression that weighs both domains alike, so no
    class prior has to be taken out. Its penalty is the one of least log loss on a
    quarter of the rows, drawn by `seed`: a ratio needs probabilities that are right.

    train [N D], target [T D], rows [S D] -> [S] float64. Raises ValueError for fewer
    than 8 rows of a domain and widths that differ.
    """
    found = tuned(train, target, seed=seed, judge=log_losses)
    return np.exp(found(rows))
