"""Random weights and images that need no file: each array is drawn by its name."""

import zlib
from collections.abc import Mapping

import numpy as np

COUNT = 7


def array_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor of a state dict in torch's layout; norms and statistics too."""
    if name.endswith("num_batches_tracked"):
        return np.array(COUNT, np.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    drawn = rng.standard_normal(shape, np.float32)
    if len(shape) > 1:
        fan = int(np.prod(shape[1:]))
        return drawn * np.float32((2 / fan) ** 0.5)
    return (1 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn).astype("f")


def arrays_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A whole state dict."""
    return {name: array_of(name, tuple(shape)) for name, shape in shapes.items()}


def pictures(size: int = 64) -> np.ndarray:
    """Four pictures, already normalised. [4 size size-6 3]."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((4, size, size - 6, 3), np.float32)
