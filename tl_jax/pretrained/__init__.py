"""Pretrained weights into our trees and back, strictly."""

from tl_jax.pretrained.errors import Damaged, Unsafe
from tl_jax.pretrained.family import Unsupported
from tl_jax.pretrained.loading import load
from tl_jax.pretrained.names import Misfit
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.saving import save
from tl_jax.pretrained.spec import NotFound
from tl_jax.pretrained.tokenizer import Tokenizer

__all__ = [
    "Damaged",
    "Misfit",
    "NotFound",
    "Preprocess",
    "Tokenizer",
    "Unsafe",
    "Unsupported",
    "load",
    "save",
]
