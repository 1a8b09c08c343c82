"""PEFT's adapter files, read and written without torch."""

from tl_jax.interop.peft.reading import read
from tl_jax.interop.peft.writing import write

__all__ = ["read", "write"]
