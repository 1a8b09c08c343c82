"""Factors of what a layer computes, and changes of few of its numbers."""

from tl_jax.transfer.scaling.ia3 import IA3, ia3

__all__ = ["IA3", "ia3"]
