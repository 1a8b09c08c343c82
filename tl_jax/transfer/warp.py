"""Layers that turn the geometry in which a task descends."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp

from tl_jax.transfer.graft import graft
from tl_jax.tree import node
from tl_jax.types import Array, Key, Params, Transfer


@node
class Warp:
    """(x W + b) t. matrix [O O]."""

    point: ClassVar[str] = "output"
    rates: ClassVar[Mapping[str, float]] = {}
    matrix: Array

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Mix the layer's outputs."""
        return value @ self.matrix

    def fold(self, site: Params) -> Params:
        """The site with W t and b t."""
        made = site | {"kernel": jnp.matmul(site["kernel"], self._for(site["kernel"]))}
        if "bias" in site:
            made["bias"] = jnp.einsum("...o,...op->...p", site["bias"], self.matrix)
        return made

    def _for(self, kernel: Array) -> Array:
        """The matrix with axes of 1 for a convolution's places."""
        gap = kernel.ndim - self.matrix.ndim
        lead = self.matrix.shape[:-2]
        return self.matrix.reshape(*lead, *(1,) * gap, *self.matrix.shape[-2:])


def warp(where: str, *, name: str = "warp") -> Transfer:
    """A square matrix behind every matching layer, the identity at the start.

    It moves outside alone, `freeze(".*/patch/warp/.*")` in the inner plan, and so says
    in which directions tasks go (Lee and Choi, 2018, T-Nets; Flennerhag et al., 2020,
    Warp-Grad, whose warp layers may be deeper). `where` matches sites with a kernel.
    """

    def make(key: Key, site: Params) -> Warp:
        return Warp(jnp.eye(site["kernel"].shape[-1]))

    return graft(where, name, make, has=("kernel",))
