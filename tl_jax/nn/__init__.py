"""Layers: functions of a site, which apply whatever patches they find there."""

from tl_jax.nn.attention import attention
from tl_jax.nn.block import added, block, run_blocks
from tl_jax.nn.conv import avg_pool, conv, global_pool, init_conv, max_pool
from tl_jax.nn.dense import dense, dropout, embed, product, thin_product
from tl_jax.nn.init import init_dense, init_norm, normal
from tl_jax.nn.instance import instance_norm
from tl_jax.nn.lstm import init_lstm, lstm, lstm_step
from tl_jax.nn.maps import interleaved, reflected
from tl_jax.nn.norms import (
    Fixed,
    OwnRows,
    Running,
    Watched,
    batch_norm,
    layer_norm,
    pooled,
    rms_norm,
)
from tl_jax.nn.patches import base_weight, expand, own_tokens, patched, weight
from tl_jax.nn.relative import relative_bias
from tl_jax.nn.rotary import rotary, turns

__all__ = [
    "Fixed",
    "OwnRows",
    "Running",
    "Watched",
    "added",
    "attention",
    "avg_pool",
    "base_weight",
    "batch_norm",
    "block",
    "conv",
    "dense",
    "dropout",
    "embed",
    "expand",
    "global_pool",
    "init_conv",
    "init_dense",
    "init_lstm",
    "init_norm",
    "instance_norm",
    "interleaved",
    "layer_norm",
    "lstm",
    "lstm_step",
    "max_pool",
    "normal",
    "own_tokens",
    "patched",
    "pooled",
    "product",
    "reflected",
    "relative_bias",
    "rms_norm",
    "rotary",
    "run_blocks",
    "thin_product",
    "turns",
    "weight",
]
