"""Transforms of plans: what exists, what moves, what is grafted."""

from tl_jax.transfer.describe import describe, totals
from tl_jax.transfer.fold import fold, foldable
from tl_jax.transfer.graft import graft
from tl_jax.transfer.lora import LoRA, lora
from tl_jax.transfer.plan import chain, freeze, full, layerwise, rate, top, trainable
from tl_jax.transfer.surgery import (
    new_head,
    resize_positions,
    set_head,
    stack_layers,
    unstack_layers,
)
from tl_jax.tree import diff, merge, partition

__all__ = [
    "LoRA",
    "chain",
    "describe",
    "diff",
    "fold",
    "foldable",
    "freeze",
    "full",
    "graft",
    "layerwise",
    "lora",
    "merge",
    "new_head",
    "partition",
    "rate",
    "resize_positions",
    "set_head",
    "stack_layers",
    "top",
    "totals",
    "trainable",
    "unstack_layers",
]
