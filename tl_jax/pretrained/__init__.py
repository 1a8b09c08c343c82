"""Pretrained weights into our trees and back, strictly."""

from tl_jax.pretrained.family import Unsupported
from tl_jax.pretrained.files import Damaged
from tl_jax.pretrained.loading import load
from tl_jax.pretrained.names import Misfit
from tl_jax.pretrained.saving import save
from tl_jax.pretrained.spec import NotFound
from tl_jax.pretrained.tokenizer import Tokenizer

__all__ = ["Damaged", "Misfit", "NotFound", "Tokenizer", "Unsupported", "load", "save"]
