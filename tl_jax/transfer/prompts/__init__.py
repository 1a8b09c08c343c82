"""Learned tokens, keys and values that a network reads beside its input."""

from tl_jax.transfer.prompts.prefix import Prefix, prefix

__all__ = ["Prefix", "prefix"]
