"""Rotary positions: queries and keys turned by angles that grow with the position."""

import jax.numpy as jnp
import numpy as np

from tl_jax.types import Array

Turns = tuple[Array, Array]
"""Cosines and sines [B 1 T d/2] of every position's angles."""


def turns(
    positions: Array, width: int, *, base: float = 10000.0, dtype=jnp.float32
) -> Turns:
    """Cosines and sines of the angles p base^(-2i/d) for i below d/2.

    positions [B T], d the width of a head -> two arrays [B 1 T d/2]. Positions may be
    negative: only differences between them count (Su et al., 2021). Raises ValueError
    for an odd width.
    """
    if width % 2:
        raise ValueError(f"a head is {width} wide, expected an even number to turn")
    speeds = base ** (-np.arange(0, width, 2, np.float64) / width)
    angles = positions[:, None, :, None].astype(dtype) * jnp.asarray(speeds, dtype)
    return jnp.cos(angles), jnp.sin(angles)


def rotary(x: Array, turn: Turns) -> Array:
    """The pairs (x_i, x_{i + d/2}) turned by their position's angles (Su et al., 2021).

    x [B H T d] -> [B H T d] in x's dtype, computed in the angles'. Halves are paired,
    as transformers' files have it, not neighbours as in the paper.
    """
    cos, sin = turn
    a, b = jnp.split(x.astype(cos.dtype), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)
