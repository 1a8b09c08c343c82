"""What a kind of adapter must say: its tensors into patches, and back."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.tree import no_match
from tl_jax.types import Array, Patch

Tensors = dict[str, np.ndarray]


class Adapter(NamedTuple):
    """An adapter's file, sorted: what a codec reads."""

    config: Mapping[str, Any]
    modules: Mapping[str, Tensors]
    """Module, plain -> what stands behind its name -> tensor."""
    shared: Tensors
    """Tensors of no module."""
    kernels: Mapping[str, tuple[int, ...]]
    """Module -> the shape of our kernel or table there."""


class Written(NamedTuple):
    """What a codec writes: fields of the config and tensors by module."""

    config: dict[str, Any]
    modules: dict[str, Tensors]
    shared: Tensors


class Codec(NamedTuple):
    """One `peft_type`."""

    kinds: tuple[type, ...]
    """Classes of the patches."""
    fields: frozenset[str]
    """Fields of its config that are read, or that tell only how training went."""
    read: Callable[[Adapter], dict[str, Patch]]
    """Module -> patch; "" is the root, `embed` and others by their own path."""
    write: Callable[[dict[str, Patch]], Written]
    """{module: patch} -> what stands in the file."""


class Taken:
    """Tensors of one module, each of which must be asked for."""

    def __init__(self, module: str, tensors: Mapping[str, np.ndarray]) -> None:
        self.module, self.left = module, dict(tensors)

    def has(self, name: str) -> bool:
        """Whether a tensor is there."""
        return name in self.left

    def take(self, name: str, shape: tuple[int | None, ...] | None = None) -> Array:
        """A tensor, as it stands in the file; raises `NoMatch` or ValueError.

        `shape` has None where any size does.
        """
        if name not in self.left:
            raise no_match(f"{self.module}: tensor", name, self.left)
        found = self.left.pop(name)
        fits = shape is None or (
            found.ndim == len(shape)
            and all(w in (None, n) for w, n in zip(shape, found.shape, strict=True))
        )
        if not fits:
            wanted = ["any" if n is None else n for n in shape]
            raise ValueError(
                f"{self.module}.{name} is {list(found.shape)}, expected {wanted}"
            )
        return jnp.asarray(found, jnp.float32)

    def done(self) -> None:
        """Raise ValueError for a tensor that nobody asked for."""
        if self.left:
            raise ValueError(
                f"{self.module} has {', '.join(sorted(self.left))}, which no patch "
                "here holds"
            )


def array(x: Any) -> np.ndarray:
    """A leaf as the file holds it."""
    return np.asarray(x, np.float32)
