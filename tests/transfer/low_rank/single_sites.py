"""Random values and a comparison: what tests of patches at single layers share."""

import jax
import jax.numpy as jnp
import numpy as np


def drawn(*shape, seed=0):
    """A random array."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def moved(params, seed=9):
    """Values that no initialiser makes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + 0.3 * rng.standard_normal(x.shape, np.float32), params
    )


def near(found, expected, tolerance=1e-5):
    """Equal shapes, and values to that share of the largest expected."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def dense_site(seed=0):
    """A dense layer from 6 to 8 numbers."""
    return {"kernel": drawn(6, 8, seed=seed), "bias": drawn(8, seed=seed + 1)}
