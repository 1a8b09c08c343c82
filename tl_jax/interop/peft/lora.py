"""LORA and ADALORA files: LoRA, rsLoRA, DoRA, PiSSA as a LoRA, AdaLoRA."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tl_jax.interop.peft.codec import Adapter, Codec, Taken, Tensors, Written, array
from tl_jax.interop.peft.settings import (
    by_pattern,
    patterned,
    round_number,
    setting,
)
from tl_jax.transfer.low_rank import AdaLoRA, DoRA, KernelDoRA, KernelLoRA, LoRA
from tl_jax.transfer.low_rank.adalora import EPSILON
from tl_jax.transfer.low_rank.factors import scale_of
from tl_jax.transfer.low_rank.lora import LookupLoRA
from tl_jax.types import Array, Patch

A, B = "lora_A.weight", "lora_B.weight"
TABLE_A, TABLE_B = "lora_embedding_A", "lora_embedding_B"
LENGTHS = ("lora_magnitude_vector", "lora_magnitude_vector.weight")
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mpd")
"""`init_lora_weights` that leave the base's kernels alone."""
RESIDUAL = ("pissa", "olora")
"""Those that take a part out of the kernel, which is done again here."""


def read_lora(adapter: Adapter) -> dict[str, Patch]:
    """Module -> LoRA or DoRA, of the scale that the config gives it."""
    config = adapter.config
    start = config.get("init_lora_weights", True)
    if start not in (*PLAIN_STARTS, *RESIDUAL):
        raise ValueError(
            f"adapter_config.json: init_lora_weights is {start!r}, which changes the "
            f"base's weights; expected one of {(*PLAIN_STARTS, *RESIDUAL)}, or to be "
            "converted by PEFT's path_initial_model_for_weight_conversion"
        )
    rate = setting(config, "lora_dropout", 0.0, float)
    turned = setting(config, "use_dora", False, bool)
    residual = start in RESIDUAL
    if turned and residual:
        raise ValueError(
            f"adapter_config.json: use_dora with init_lora_weights {start!r}, "
            "expected one of them"
        )
    found: dict[str, Patch] = {}
    for module, tensors in adapter.modules.items():
        own = Taken(module, tensors)
        kernel = adapter.kernels[module]
        if own.has(TABLE_A):
            rows, width = kernel
            a, b = own.take(TABLE_A, (None, rows)), own.take(TABLE_B, (width, None))
            scale = _scale(config, module, len(a))
            found[module] = LookupLoRA(a.T, b.T, scale)
            own.done()
            continue
        a, b = _factors(own, kernel)
        scale = _scale(config, module, a.shape[-1])
        dense = len(kernel) == 2
        if turned:
            name = next((n for n in LENGTHS if own.has(n)), LENGTHS[0])
            parts = a, b, own.take(name).reshape(-1), scale
            found[module] = DoRA(*parts, rate) if dense else KernelDoRA(*parts)
        else:
            made = (a, b, scale)
            found[module] = LoRA(*made, rate, residual) if dense else KernelLoRA(*made)
        own.done()
    return found


def _factors(own: Taken, kernel: tuple[int, ...]) -> tuple[Array, Array]:
    """a [I r] or [h w I r] and b [r O]."""
    *place, d_in, d_out = kernel
    if place:
        a = own.take(A, (None, d_in, *place)).transpose(2, 3, 1, 0)
        return a, own.take(B, (d_out, None, 1, 1))[:, :, 0, 0].T
    return own.take(A, (None, d_in)).T, own.take(B, (d_out, None)).T


def _scale(config: Mapping[str, Any], module: str, rank: int) -> Array:
    told = by_pattern(config.get("rank_pattern"), module, config.get("r", 8))
    if told != rank:
        raise ValueError(
            f"{module}: its tensors are of rank {rank}, but adapter_config.json says "
            f"{told}"
        )
    alpha = by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha", 8))
    return scale_of(alpha, rank, setting(config, "use_rslora", False, bool))


def write_lora(nodes: dict[str, Patch]) -> Written:
    """Tensors and scales; a scale is written as alpha, since alpha / r gives it."""
    turned = {isinstance(own, DoRA | KernelDoRA) for own in nodes.values()}
    if len(turned) > 1:
        raise ValueError(
            "one file holds LoRA or DoRA, but the plan has both: "
            f"{', '.join(sorted({type(n).__name__ for n in nodes.values()}))}"
        )
    ranks = {module: own.b.shape[0] for module, own in nodes.items()}
    alphas = {m: round_number(float(own.scale) * ranks[m]) for m, own in nodes.items()}
    rates = {getattr(own, "rate", 0.0) for own in nodes.values()}
    rank, other_ranks = patterned(ranks)
    alpha, other_alphas = patterned(alphas)
    config = {
        "r": rank,
        "rank_pattern": other_ranks,
        "lora_alpha": alpha,
        "alpha_pattern": other_alphas,
        "lora_dropout": max(rates),
        "use_dora": turned == {True},
        "use_rslora": False,
        "init_lora_weights": True,
        "fan_in_fan_out": False,
    }
    return Written(config, {m: _tensors(own) for m, own in nodes.items()}, {})


def _tensors(own: Any) -> Tensors:
    if isinstance(own, LookupLoRA) or getattr(own, "leaf", "") == "embedding":
        return {TABLE_A: array(own.a).T, TABLE_B: array(own.b).T}
    a, b = array(own.a), array(own.b)
    if a.ndim == 4:
        found = {A: a.transpose(3, 2, 0, 1), B: b.T[:, :, None, None]}
    else:
        found = {A: a.T, B: b.T}
    if isinstance(own, DoRA | KernelDoRA):
        lengths = array(own.magnitude)
        conv = a.ndim == 4
        found[LENGTHS[0]] = lengths[None, :, None, None] if conv else lengths
    return found


def read_adalora(adapter: Adapter) -> dict[str, Patch]:
    """Module -> AdaLoRA; of a pruned file the triplets that stayed."""
    config = adapter.config
    rank = setting(config, "init_r", 12, int)
    alpha = setting(config, "lora_alpha", 8.0, float)
    scale = np.float32((alpha if alpha > 0 else rank) / (rank + EPSILON))
    found = {}
    for module, tensors in adapter.modules.items():
        own, (d_in, d_out) = Taken(module, tensors), adapter.kernels[module]
        p, q = own.take("lora_A", (None, d_in)).T, own.take("lora_B", (d_out, None)).T
        e = own.take("lora_E", (p.shape[1], 1))[:, 0]
        rate = setting(config, "lora_dropout", 0.0, float)
        found[module] = AdaLoRA(p, e, q, scale_like(scale), rate)
        own.done()
    return found


def scale_like(scale: float) -> Array:
    """A scale as a leaf. []."""
    return scale_of(float(scale), 1, False)


def write_adalora(nodes: dict[str, Patch]) -> Written:
    """All at the largest rank, further singular values zero, and one scale."""
    rank = max(own.e.shape[0] for own in nodes.values())
    scale = float(next(iter(nodes.values())).scale)
    alpha = round_number(scale * (rank + EPSILON))
    modules: dict[str, Tensors] = {}
    for module, own in nodes.items():
        more = rank - own.e.shape[0]
        e = array(own.e) * (float(own.scale) / scale)
        modules[module] = {
            "lora_A": np.pad(array(own.p).T, ((0, more), (0, 0))),
            "lora_B": np.pad(array(own.q).T, ((0, 0), (0, more))),
            "lora_E": np.pad(e, (0, more))[:, None],
        }
    config = {
        "init_r": rank,
        "target_r": rank,
        "total_step": 1,
        "lora_alpha": alpha,
        "lora_dropout": max(own.rate for own in nodes.values()),
        "init_lora_weights": True,
        "fan_in_fan_out": False,
    }
    if not math.isfinite(scale) or scale == 0:
        raise ValueError(f"adalora: scale is {scale}, expected a number but 0")
    return Written(config, modules, {})


LORA = Codec(
    (LoRA, KernelLoRA, LookupLoRA, DoRA, KernelDoRA),
    frozenset(
        {
            *("r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern"),
            *("use_rslora", "use_dora", "init_lora_weights", "eva_config"),
            *("loftq_config", "qalora_group_size"),
        }
    ),
    read_lora,
    write_lora,
)
ADALORA = Codec(
    (AdaLoRA,),
    frozenset(
        {
            *("r", "init_r", "target_r", "lora_alpha", "lora_dropout", "rank_pattern"),
            *("tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight"),
            *("total_step", "init_lora_weights", "qalora_group_size", "loftq_config"),
            "alpha_pattern",
        }
    ),
    read_adalora,
    write_adalora,
)
