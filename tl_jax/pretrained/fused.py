"""Tensors of a file that hold several of our kernels side by side."""

import re
from collections.abc import Mapping

import numpy as np

from tl_jax.pretrained.files import Part, Tensor
from tl_jax.pretrained.names import Fused


def parted(tensors: Mapping[str, Tensor], fused: Fused | None) -> dict[str, Tensor]:
    """Each fused tensor as its parts, `module.leaf` as `module.part.leaf`."""
    if fused is None:
        return dict(tensors)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match, count = re.fullmatch(fused.pattern, name), len(fused.parts)
        if not match or not tensor.shape or tensor.shape[-1] % count:
            found[name] = tensor
            continue
        shape = (*tensor.shape[:-1], tensor.shape[-1] // count)
        for i, part in enumerate(fused.parts):
            own = Part(name, i, count)
            found[f"{match[1]}.{part}.{match[2]}"] = tensor._replace(
                shape=shape, part=own
            )
    return found


def joined(
    arrays: Mapping[str, np.ndarray], fused: Fused | None
) -> dict[str, np.ndarray]:
    """The inverse of `parted`, of arrays."""
    if fused is None:
        return dict(arrays)
    found = dict(arrays)
    first = fused.parts[0]
    for name in arrays:
        module, _, leaf = name.rpartition(".")
        whole = f"{module.removesuffix(f'.{first}')}.{leaf}"
        if whole != name and re.fullmatch(fused.pattern, whole):
            stem = module.removesuffix(f".{first}")
            own = [found.pop(f"{stem}.{part}.{leaf}") for part in fused.parts]
            found[whole] = np.concatenate(own, axis=-1)
    return found
