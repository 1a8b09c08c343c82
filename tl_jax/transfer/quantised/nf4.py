"""Kernels in four bits, with scales in eight."""

import math

import jax.numpy as jnp

from tl_jax.transfer.quantised.levels import (
    DYNAMIC_8,
    NORMAL_4,
    in_blocks,
    nearest_level,
)
from tl_jax.tree import node, static
from tl_jax.types import Array

BLOCK, NESTED = 64, 256
"""Values that share a scale; scales that share one of their own."""


@node
class NF4:
    """W^T, row by row, in blocks of 64 values: scale times one of sixteen levels.

    codes [ceil(I O / 2)] uint8, two values each, the first in the high bits; scales
    [S] of the S blocks: float32, or uint8 where they are quantised once more; then
    `nested` [ceil(S / 256)] and `offset` [] in float32 give a block's scale as
    nested level(scales) + offset.
    """

    codes: Array
    scales: Array
    nested: Array | None
    offset: Array | None
    rows: int = static()
    columns: int = static()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the kernel, [I O]."""
        return (*self.codes.shape[:-1], self.columns, self.rows)

    @property
    def ndim(self) -> int:
        """Axes of the kernel."""
        return len(self.shape)

    def dequantise(self) -> Array:
        """The kernel [I O] in float32."""
        halves = jnp.stack([self.codes >> 4, self.codes & 15], axis=-1)
        lead, count = self.codes.shape[:-1], self.rows * self.columns
        values = jnp.asarray(NORMAL_4)[halves].reshape(*lead, -1)[..., :count]
        blocks = in_blocks(values, BLOCK) * self._of_blocks()[..., None]
        flat = blocks.reshape(*lead, -1)[..., :count]
        return flat.reshape(*lead, self.rows, self.columns).swapaxes(-1, -2)

    def _of_blocks(self) -> Array:
        """Every block's scale, float32 [S]."""
        if self.nested is None:
            return self.scales
        found = in_blocks(jnp.asarray(DYNAMIC_8)[self.scales], NESTED)
        found = found * self.nested[..., None]
        flat = found.reshape(*self.scales.shape[:-1], -1)
        return flat[..., : self.scales.shape[-1]] + self.offset[..., None]


def to_nf4(kernel: Array, *, double: bool = True) -> NF4:
    """A kernel [I O] in 4-bit NormalFloat (Dettmers et al., 2023).

    Blocks run along the inputs of one output, as they lie in torch's files, and are
    divided by their largest absolute value, of which `double` keeps eight bits: less
    their mean, over the largest of 256. 4.127 bits a weight, or 4.5 without.
    """
    columns, rows = kernel.shape[-2:]
    lead = kernel.shape[:-2]
    flat = kernel.swapaxes(-1, -2).reshape(*lead, -1).astype(jnp.float32)
    blocks = in_blocks(flat, BLOCK)
    largest = jnp.abs(blocks).max(-1)
    safe = jnp.where(largest > 0, largest, 1)
    near = nearest_level(blocks / safe[..., None], NORMAL_4)
    near = near.reshape(*lead, -1)[..., : 2 * math.ceil(rows * columns / 2)]
    codes = (near[..., ::2] << 4) | near[..., 1::2]
    if not double:
        return NF4(codes, largest, None, None, rows, columns)
    offset = largest.mean(-1)
    groups = in_blocks(largest - offset[..., None], NESTED)
    nested = jnp.abs(groups).max(-1)
    share = groups / jnp.where(nested > 0, nested, 1)[..., None]
    scales = nearest_level(share, DYNAMIC_8).reshape(*lead, -1)
    scales = scales[..., : largest.shape[-1]]
    return NF4(codes, scales, nested, offset, rows, columns)
