"""Products of few numbers beside a kernel, or in its place."""

from tl_jax.transfer.low_rank.lora import LoRA, lora

__all__ = ["LoRA", "lora"]
