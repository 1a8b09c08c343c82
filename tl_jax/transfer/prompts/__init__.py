"""Learned tokens, keys and values that a network reads beside its input."""

from tl_jax.transfer.prompts.encoders import plain
from tl_jax.transfer.prompts.p_tuning import PromptEncoder, p_tuning
from tl_jax.transfer.prompts.prefix import Prefix, PrefixEncoder, Shift, prefix
from tl_jax.transfer.prompts.prompt import Prompt, prompt
from tl_jax.transfer.prompts.vpt import DeepPrompt, vpt

__all__ = [
    "DeepPrompt",
    "Prefix",
    "PrefixEncoder",
    "Prompt",
    "PromptEncoder",
    "Shift",
    "p_tuning",
    "plain",
    "prefix",
    "prompt",
    "vpt",
]
