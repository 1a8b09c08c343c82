"""Transforms of plans: what exists, what moves, what is grafted."""

from tl_jax.transfer.certify import Certificate, Folded, certified_fold, unfold
from tl_jax.transfer.context import Context, SharedContext, context, context_only
from tl_jax.transfer.describe import describe, totals
from tl_jax.transfer.fold import fold, foldable
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank import LoRA, lora
from tl_jax.transfer.per_step import (
    StepNorm,
    at_step,
    per_step_norms,
    stats_at_step,
)
from tl_jax.transfer.plan import chain, freeze, full, layerwise, rate, top, trainable
from tl_jax.transfer.prompts import Prefix, prefix
from tl_jax.transfer.quantised import (
    NF4,
    Int8,
    dequantise,
    quantise,
    quantised,
    to_int8,
    to_nf4,
)
from tl_jax.transfer.surgery import (
    new_head,
    resize_positions,
    set_head,
    stack_layers,
    unstack_layers,
)
from tl_jax.transfer.tuning import (
    batch_norms,
    bitfit,
    blocks,
    discriminative,
    keep_head,
    layer_norms,
)
from tl_jax.transfer.warp import Warp, warp
from tl_jax.tree import diff, merge, partition

__all__ = [
    "NF4",
    "Certificate",
    "Context",
    "Folded",
    "Int8",
    "LoRA",
    "Prefix",
    "SharedContext",
    "StepNorm",
    "Warp",
    "at_step",
    "batch_norms",
    "bitfit",
    "blocks",
    "certified_fold",
    "chain",
    "context",
    "context_only",
    "dequantise",
    "describe",
    "diff",
    "discriminative",
    "fold",
    "foldable",
    "freeze",
    "full",
    "graft",
    "keep_head",
    "layer_norms",
    "layerwise",
    "lora",
    "merge",
    "new_head",
    "partition",
    "per_step_norms",
    "prefix",
    "quantise",
    "quantised",
    "rate",
    "resize_positions",
    "set_head",
    "stack_layers",
    "stats_at_step",
    "to_int8",
    "to_nf4",
    "top",
    "totals",
    "trainable",
    "unfold",
    "unstack_layers",
    "warp",
]
