"""Kernels in eight bits."""

import jax.numpy as jnp

from tl_jax.tree import node
from tl_jax.types import Array


@node
class Int8:
    """W_io = scale_o codes_io. codes [I O] int8, scale [O] float32."""

    codes: Array
    scale: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the kernel, [I O]."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """Axes of the kernel."""
        return self.codes.ndim

    def dequantise(self) -> Array:
        """The kernel [I O] in the scale's dtype."""
        return self.codes.astype(self.scale.dtype) * self.scale[..., None, :]


def to_int8(kernel: Array) -> Int8:
    """A kernel [I O] rounded to 255 steps between plus and minus each column's largest.

    Per output as the weights of LLM.int8 (Dettmers et al., 2022), whose inputs are
    quantised as well and whose outliers are kept apart; here weights alone are.
    """
    scale = (jnp.abs(kernel).max(-2) / 127).astype(jnp.float32)
    safe = jnp.where(scale > 0, scale, 1)[..., None, :]
    codes = jnp.clip(jnp.round(kernel / safe), -127, 127).astype(jnp.int8)
    return Int8(codes, scale)
