"""Patches at each point, plain enough to follow by hand."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import dense, weight
from tl_jax.transfer import graft
from tl_jax.tree import node, static
from tl_jax.types import Array, Params


@node
class Times:
    """value * by, at any point."""

    rates: ClassVar[Mapping[str, float]] = {}
    by: Array
    point: str = static("output")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        return value * self.by


@node
class Beside:
    """value + x m: at a branch, what reads the sub-layer's input."""

    point: ClassVar[str] = "branch"
    rates: ClassVar[Mapping[str, float]] = {}
    kernel: Array

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        return value + dense({"kernel": self.kernel}, x)


def times(where: str, point: str, leaf: str = "kernel", name: str = "times"):
    """A random factor for what stands at the point."""

    def make(key, site):
        axis = 0 if point == "input" else -1
        width = weight(site, leaf).shape[axis]
        return Times(1 + 0.5 * jax.random.normal(key, (width,)), point)

    return graft(where, name, make, has=(leaf,))


def beside(where: str, width: int, name: str = "beside"):
    """Zeros at the start."""
    return graft(where, name, lambda key, site: Beside(jnp.zeros((width, width))))
