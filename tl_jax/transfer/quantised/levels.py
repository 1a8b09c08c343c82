"""Tables of values that a few bits can name, and the nearest of them."""

import jax.numpy as jnp
import numpy as np

from tl_jax.types import Array

NORMAL_4 = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634),
        *(0.33791524171829224, 0.44070982933044434, 0.5626170039176941),
        *(0.7229568362236023, 1.0),
    ],
    np.float32,
)
"""Sixteen quantiles of a normal between -1 and 1, zero among them: 4-bit NormalFloat
(Dettmers et al., 2023, appendix E)."""


def dynamic_levels() -> np.ndarray:
    """256 signed values, dense near zero: the dynamic 8-bit data type.

    (Dettmers, 2016; Dettmers et al., 2022.) For each exponent e from -6 to 0 there are
    2^(e + 6) fractions, the middles of as many equal parts of [0.1, 1], times 10^e, of
    both signs; beside them 0 and 1. Ascending, [256].
    """
    found = [np.zeros(1, np.float32), np.ones(1, np.float32)]
    for power in range(7):
        edges = np.linspace(0.1, 1, 2**power + 1, dtype=np.float32)
        middles = (edges[:-1] + edges[1:]) / np.float32(2)
        scaled = np.float32(10.0 ** (power - 6)) * middles
        found += [scaled, -scaled]
    return np.sort(np.concatenate(found))


DYNAMIC_8 = dynamic_levels()


def nearest_level(values: Array, levels: np.ndarray) -> Array:
    """The index of the level that is nearest to each value, uint8 [...]."""
    middles = (levels[1:].astype(np.float64) + levels[:-1]) / 2
    return jnp.searchsorted(middles.astype(np.float32), values).astype(jnp.uint8)


def in_blocks(flat: Array, size: int) -> Array:
    """flat [... N] as [... ceil(N / size) size], the last block filled with zeros."""
    spare = -flat.shape[-1] % size
    padded = jnp.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, spare)])
    return padded.reshape(*flat.shape[:-1], -1, size)
