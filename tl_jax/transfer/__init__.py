"""Transforms of plans: what exists, what moves, what is grafted."""

from tl_jax.transfer.context import Context, SharedContext, context, context_only
from tl_jax.transfer.describe import describe, totals
from tl_jax.transfer.fold import fold, foldable
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank import LoRA, lora
from tl_jax.transfer.padding import cut_ranks, pad_ranks
from tl_jax.transfer.per_step import (
    StepNorm,
    at_step,
    per_step_norms,
    stats_at_step,
)
from tl_jax.transfer.plan import chain, freeze, full, layerwise, rate, top, trainable
from tl_jax.transfer.prompts import Prefix, prefix
from tl_jax.transfer.surgery import (
    new_head,
    resize_positions,
    set_head,
    stack_layers,
    unstack_layers,
)
from tl_jax.transfer.warp import Warp, warp
from tl_jax.tree import diff, merge, partition

__all__ = [
    "Context",
    "LoRA",
    "Prefix",
    "SharedContext",
    "StepNorm",
    "Warp",
    "at_step",
    "chain",
    "context",
    "context_only",
    "cut_ranks",
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
    "pad_ranks",
    "partition",
    "per_step_norms",
    "prefix",
    "rate",
    "resize_positions",
    "set_head",
    "stack_layers",
    "stats_at_step",
    "top",
    "totals",
    "trainable",
    "unstack_layers",
    "warp",
]
