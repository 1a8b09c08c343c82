"""Layers: functions of a site, which apply whatever patches they find there."""

from tl_jax.nn.attention import attention
from tl_jax.nn.block import block, run_blocks
from tl_jax.nn.dense import dense, dropout, embed, product
from tl_jax.nn.init import init_dense, init_norm, normal
from tl_jax.nn.norms import Fixed, Running, batch_norm, layer_norm
from tl_jax.nn.patches import expand, patched

__all__ = [
    "Fixed",
    "Running",
    "attention",
    "batch_norm",
    "block",
    "dense",
    "dropout",
    "embed",
    "expand",
    "init_dense",
    "init_norm",
    "layer_norm",
    "normal",
    "patched",
    "product",
    "run_blocks",
]
