"""Modules that make queries, keys and values at once: one of theirs, three sites."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from tl_jax.interop.peft.codec import Tensors
from tl_jax.pretrained.names import Fused
from tl_jax.transfer.low_rank import LoRA
from tl_jax.transfer.scaling import IA3
from tl_jax.types import Array, Patch

SHARED = ("lora_A.weight",)
"""Tensors that every part reads."""
SPLIT = (
    *("lora_B.weight", "lora_magnitude_vector", "lora_magnitude_vector.weight"),
    "ia3_l",
)
"""Tensors of which each part has its share of the first axis."""
PATTERNS = ("rank_pattern", "alpha_pattern")


def whole_of(module: str, fused: Fused | None) -> str:
    """The module that a part is of, or the module itself."""
    stem, _, part = module.rpartition(".")
    if fused and part in fused.parts and _is_fused(stem, fused):
        return stem
    return module


def parts_of(module: str, fused: Fused | None) -> list[str]:
    """The parts of a fused module, or the module alone."""
    if fused and _is_fused(module, fused):
        return [f"{module}.{part}" for part in fused.parts]
    return [module]


def _is_fused(module: str, fused: Fused) -> bool:
    return re.fullmatch(fused.pattern, f"{module}.weight") is not None


def split(modules: Mapping[str, Tensors], fused: Fused | None) -> dict[str, Tensors]:
    """Each fused module's tensors as those of its parts.

    Raises ValueError for a method whose tensors have no parts.
    """
    found: dict[str, Tensors] = {}
    for module, tensors in modules.items():
        parts = parts_of(module, fused)
        if len(parts) == 1:
            found[module] = tensors
            continue
        for name in tensors:
            if name not in (*SHARED, *SPLIT):
                raise ValueError(
                    f"{module}.{name}: {module} holds queries, keys and values, whose "
                    f"parts are known of {', '.join((*SHARED, *SPLIT))} alone"
                )
        for i, part in enumerate(parts):
            found[part] = {
                name: x if name in SHARED else np.split(x, len(parts))[i]
                for name, x in tensors.items()
            }
    return found


def split_whole(whole: Tensors, fused: Fused | None) -> Tensors:
    """Each fused module's own weight and bias as those of its parts."""
    found: Tensors = {}
    for key, tensor in whole.items():
        module, _, leaf = key.rpartition(".")
        parts = parts_of(module, fused)
        shares = np.split(tensor, len(parts), axis=-1) if parts[1:] else [tensor]
        for part, share in zip(parts, shares, strict=True):
            found[f"{part}.{leaf}"] = share
    return found


def told_of_parts(config: Mapping[str, Any], fused: Fused | None) -> dict[str, Any]:
    """The config with patterns that parts of the modules match, too."""
    if fused is None:
        return dict(config)
    tail = rf"(\.({'|'.join(fused.parts)}))?"
    return dict(config) | {
        field: {f"({pattern}){tail}": v for pattern, v in config[field].items()}
        for field in PATTERNS
        if config.get(field)
    }


def join(
    nodes: Mapping[str, Patch], fused: Fused | None, shapes: Mapping[str, tuple]
) -> dict[str, Patch]:
    """The patches of a fused module's parts as one of the whole.

    LoRAs of several parts become one of all their ranks, or of one rank where they
    share a. shapes: part -> its kernel's [I O]. Raises ValueError for other methods.
    """
    found: dict[str, Patch] = {}
    for module, own in nodes.items():
        stem = whole_of(module, fused)
        if stem == module:
            found[module] = own
        elif stem not in found:
            parts = parts_of(stem, fused)
            found[stem] = _joined(stem, [nodes.get(p) for p in parts], shapes, parts)
    return found


def _joined(
    module: str, nodes: list[Patch | None], shapes: Mapping[str, tuple], parts: list
) -> Patch:
    widths = [shapes[part][1] for part in parts]
    held = [own for own in nodes if own is not None]
    if all(type(own) is LoRA for own in held):
        return _one_lora(nodes, held, widths)
    if all(type(own) is IA3 and own.point == "output" for own in held):
        scales = [
            jnp.ones(width) if own is None else own.scale
            for own, width in zip(nodes, widths, strict=True)
        ]
        return IA3(jnp.concatenate(scales))
    raise ValueError(
        f"{module} holds queries, keys and values, and PEFT's patch of all three is "
        f"written of LoRA and IA3 alone, but they have "
        f"{', '.join(sorted({type(own).__name__ for own in held}))}"
    )


def _one_lora(nodes: list, held: list[LoRA], widths: list[int]) -> LoRA:
    """a of all parts side by side, b in blocks; at the first one's scale."""
    first = held[0]
    alike = all(
        own.a.shape == first.a.shape and bool((own.a == first.a).all()) for own in held
    )
    rank = first.a.shape[1] if alike else sum(own.a.shape[1] for own in held)
    columns, at = [], 0
    for own, width in zip(nodes, widths, strict=True):
        block: Array = jnp.zeros((rank, width))
        if own is not None:
            b = own.b * (own.scale / first.scale)
            block = block.at[at : at + len(b)].set(b)
            at += 0 if alike else len(b)
        columns.append(block)
    a = first.a if alike else jnp.concatenate([own.a for own in held], axis=1)
    return dataclasses.replace(first, a=a, b=jnp.concatenate(columns, axis=1))
