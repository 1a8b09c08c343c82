"""Methods that say only which of the weights that are there move, and how fast."""

from tl_jax.transfer.tuning.biases import bitfit
from tl_jax.transfer.tuning.blocks import blocks, discriminative
from tl_jax.transfer.tuning.norms import batch_norms, layer_norms
from tl_jax.transfer.tuning.source_head import SOURCE, keep_head

__all__ = [
    "SOURCE",
    "batch_norms",
    "bitfit",
    "blocks",
    "discriminative",
    "keep_head",
    "layer_norms",
]
