"""Pure losses."""

from tl_jax.losses.contrastive import pair_error, supervised_contrastive
from tl_jax.losses.regularisers import (
    feature_distance,
    spectral_shrinkage,
    squared_distance,
)
from tl_jax.losses.supervised import (
    binary_cross_entropy,
    cross_entropy,
    labelled,
    next_token_cross_entropy,
    span_cross_entropy,
    squared_error,
    token_cross_entropy,
)

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "feature_distance",
    "labelled",
    "next_token_cross_entropy",
    "pair_error",
    "span_cross_entropy",
    "spectral_shrinkage",
    "squared_distance",
    "squared_error",
    "supervised_contrastive",
    "token_cross_entropy",
]
