"""Pure losses."""

from tl_jax.losses.supervised import (
    binary_cross_entropy,
    cross_entropy,
    labelled,
    span_cross_entropy,
    squared_error,
    token_cross_entropy,
)

__all__ = [
    "binary_cross_entropy",
    "cross_entropy",
    "labelled",
    "span_cross_entropy",
    "squared_error",
    "token_cross_entropy",
]
