"""Frozen weights in few bits."""

from tl_jax.transfer.quantised.int8 import Int8, to_int8
from tl_jax.transfer.quantised.nf4 import NF4, to_nf4
from tl_jax.transfer.quantised.quantise import (
    dequantise,
    is_quantised,
    quantise,
    quantised,
)

__all__ = [
    "NF4",
    "Int8",
    "dequantise",
    "is_quantised",
    "quantise",
    "quantised",
    "to_int8",
    "to_nf4",
]
