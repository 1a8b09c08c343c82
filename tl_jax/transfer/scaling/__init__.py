"""Factors of what a layer computes, and changes of few of its numbers."""

from tl_jax.transfer.scaling.diff_pruning import (
    DiffPruning,
    diff_pruning,
    expected_l0,
    prune_diffs,
)
from tl_jax.transfer.scaling.ia3 import IA3, ia3
from tl_jax.transfer.scaling.sparse import Sparse, fish_mask, fisher, magnitude_mask

__all__ = [
    "IA3",
    "DiffPruning",
    "Sparse",
    "diff_pruning",
    "expected_l0",
    "fish_mask",
    "fisher",
    "ia3",
    "magnitude_mask",
    "prune_diffs",
]
