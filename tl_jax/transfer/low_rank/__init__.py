"""Products of few numbers beside a kernel, or in its place."""

from tl_jax.transfer.low_rank.adalora import AdaLoRA, adalora, orthogonality
from tl_jax.transfer.low_rank.budget import rank_budget
from tl_jax.transfer.low_rank.dora import DoRA, KernelDoRA, dora
from tl_jax.transfer.low_rank.eva import eva, input_moments
from tl_jax.transfer.low_rank.loha import LoHa, loha
from tl_jax.transfer.low_rank.lokr import KernelLoKr, LoKr, lokr
from tl_jax.transfer.low_rank.lora import (
    KernelLoRA,
    LookupLoRA,
    LoRA,
    lora,
    lora_fa,
    lora_plus,
    rslora,
)
from tl_jax.transfer.low_rank.principal import as_lora, olora, pissa
from tl_jax.transfer.low_rank.vera import (
    Projected,
    Projections,
    VeRA,
    vera,
    with_projections,
)

__all__ = [
    "AdaLoRA",
    "DoRA",
    "KernelDoRA",
    "KernelLoKr",
    "KernelLoRA",
    "LoHa",
    "LoKr",
    "LoRA",
    "LookupLoRA",
    "Projected",
    "Projections",
    "VeRA",
    "adalora",
    "as_lora",
    "dora",
    "eva",
    "input_moments",
    "loha",
    "lokr",
    "lora",
    "lora_fa",
    "lora_plus",
    "olora",
    "orthogonality",
    "pissa",
    "rank_budget",
    "rslora",
    "vera",
    "with_projections",
]
