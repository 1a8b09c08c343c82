"""Pure losses."""

from tl_jax.losses.alignment import semantic_alignment
from tl_jax.losses.confusion import (
    class_confusion,
    diversity,
    information_loss,
    nuclear_norm,
)
from tl_jax.losses.consistency import (
    believed,
    class_thresholds,
    distillation,
    pseudo_label_loss,
    squared_consistency,
)
from tl_jax.losses.contrastive import pair_error, supervised_contrastive
from tl_jax.losses.regularisers import (
    feature_distance,
    spectral_shrinkage,
    squared_distance,
)
from tl_jax.losses.soft_means import soft_means
from tl_jax.losses.supervised import (
    binary_cross_entropy,
    cross_entropy,
    labelled,
    next_token_cross_entropy,
    span_cross_entropy,
    squared_error,
    token_cross_entropy,
)
from tl_jax.losses.translation import difference, least_squares

__all__ = [
    "believed",
    "binary_cross_entropy",
    "class_confusion",
    "class_thresholds",
    "cross_entropy",
    "difference",
    "distillation",
    "diversity",
    "feature_distance",
    "information_loss",
    "labelled",
    "least_squares",
    "next_token_cross_entropy",
    "nuclear_norm",
    "pair_error",
    "pseudo_label_loss",
    "semantic_alignment",
    "soft_means",
    "span_cross_entropy",
    "spectral_shrinkage",
    "squared_consistency",
    "squared_distance",
    "squared_error",
    "supervised_contrastive",
    "token_cross_entropy",
]
