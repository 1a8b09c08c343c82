"""Toy nodes whose effect is plain, at a point chosen by hand."""

from collections.abc import Mapping
from typing import ClassVar

from tl_jax.tree import node, static
from tl_jax.types import Array


@node
class Shift:
    """value + amount, at a point chosen by hand."""

    rates: ClassVar[Mapping[str, float]] = {}
    amount: Array
    point: str = static("output")

    def __call__(self, site, value, *, x=None, key=None):
        return value + self.amount


@node
class Double:
    """2 value: does not commute with `Shift`."""

    rates: ClassVar[Mapping[str, float]] = {}
    factor: Array
    point: str = static("output")

    def __call__(self, site, value, *, x=None, key=None):
        return self.factor * value
