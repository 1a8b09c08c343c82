"""Rotary positions: queries and keys turned by angles that grow with the position."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax.types import Array

Turns = tuple[Array, Array]
"""Cosines and sines [B 1 T d/2] of every position's angles."""


class Scaling(NamedTuple):
    """Slower turns, for contexts longer than those of the first training."""

    kind: Literal["linear", "llama3"]
    factor: float
    low: float = 1.0
    """Of llama3: the most turns in `original` tokens of what is slowed in full."""
    high: float = 4.0
    """The fewest turns of what is left alone."""
    original: int = 8192
    """Tokens of the first training's context."""


def speeds(width: int, base: float, scaling: Scaling | None = None) -> np.ndarray:
    """Angles a position, base^(-2i/d) for i below d/2, scaled. float64 [d/2].

    `linear` divides all by the factor (Chen et al., 2023). `llama3` divides those
    that turn fewer than `low` times in the original context, none that turn more than
    `high` times, and mixes both in between by the share (turns - low) / (high - low)
    (Llama 3.1; Grattafiori et al., 2024).
    """
    plain = base ** (-np.arange(0, width, 2, np.float64) / width)
    if scaling is None:
        return plain
    slow = plain / scaling.factor
    if scaling.kind == "linear":
        return slow
    times = scaling.original * plain / (2 * np.pi)
    share = np.clip((times - scaling.low) / (scaling.high - scaling.low), 0, 1)
    return share * plain + (1 - share) * slow


def turns(
    positions: Array,
    width: int,
    *,
    base: float = 10000.0,
    scaling: Scaling | None = None,
    dtype=jnp.float32,
) -> Turns:
    """Cosines and sines of the angles p base^(-2i/d) for i below d/2.

    positions [B T], d the width of a head -> two arrays [B 1 T d/2]. Positions may be
    negative: only differences between them count (Su et al., 2021). `scaling` slows
    the angles (`speeds`). Raises ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"a head is {width} wide, expected an even number to turn")
    own = jnp.asarray(speeds(width, base, scaling), dtype)
    angles = positions[:, None, :, None].astype(dtype) * own
    return jnp.cos(angles), jnp.sin(angles)


def rotary(x: Array, turn: Turns) -> Array:
    """The pairs (x_i, x_{i + d/2}) turned by their position's angles (Su et al., 2021).

    x [B H T d] -> [B H T d] in x's dtype, computed in the angles'. Halves are paired,
    as transformers' files have it, not neighbours as in the paper.
    """
    cos, sin = turn
    a, b = jnp.split(x.astype(cos.dtype), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)
