"""Pictures small enough to follow, and streams of them."""

import jax.numpy as jnp
import numpy as np
import pytest

H, W = 23, 31


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """uint8 [23 31 3]: waves and ramps under noise, all levels from 0 to 255."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:H, :W]
    waves = 128 + 140 * np.sin(x / 5 + y / 9)
    levels = np.stack([waves, 255 * x / W, 255 * y / H], -1)
    noisy = levels + rng.normal(0, 25, levels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """uint8 [23 31 3]: every pixel on its own, the worst case of a filter."""
    return np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)


def make_stream(rows: int = 6, padding: int = 2, size=(12, 10)) -> dict:
    """Random pictures, labels of four classes, the last rows padding."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (rows, *size, 3), np.uint8)
    weight = np.where(np.arange(rows) < rows - padding, 1.0, 0.0)
    return {
        "inputs": {"image": jnp.asarray(image), "mask": jnp.ones((rows, 2))},
        "labels": jnp.asarray(rng.integers(0, 4, rows), jnp.int32),
        "weight": jnp.asarray(weight, jnp.float32),
        "index": jnp.arange(rows),
    }


@pytest.fixture
def stream() -> dict:
    """Six rows of 12x10, the last two padding."""
    return make_stream()
