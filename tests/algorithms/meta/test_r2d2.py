"""Ridge heads: against torch's, a loop, and between the two systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from given import as_recorded, below, check_twice, recorded_heads, scored

from tl_jax.algorithms.meta.r2d2 import ridge_head, ridge_kernel


def test_logits_and_gradients_are_those_of_torch(golden):
    recorded = recorded_heads(golden)
    with jax.enable_x64(True):
        head = ridge_head(5, 0.5, intercept=False)
        as_recorded(head, recorded, below(recorded, "ridge"))


@pytest.mark.parametrize("rows, width", [(4, 7), (7, 4), (5, 5)])
def test_the_kernel_is_the_minimum(rows, width):
    """Weighted normal equations, whichever system is solved."""
    rng = np.random.default_rng(0)
    z, target = rng.normal(size=(rows, width)), rng.normal(size=(rows, 3))
    weight = np.arange(rows) / 2
    found = ridge_kernel(*map(jnp.asarray, (z, target, weight)), 0.7)
    gram = sum(w * np.outer(x, x) for w, x in zip(weight, z, strict=True))
    right = sum(w * np.outer(x, y) for w, x, y in zip(weight, z, target, strict=True))
    wanted = np.linalg.solve(gram + 0.7 * np.eye(width), right)
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("rows, width", [(3, 5), (5, 3)])
def test_first_and_second_derivatives_are_exact(rows, width):
    """By features and strength, in float64, reverse over reverse."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        z, target = rng.normal(size=(rows, width)), rng.normal(size=(rows, 2))
        weight = jnp.asarray(np.arange(rows) + 1.0)

        def f(z, strength):
            return ridge_kernel(z, jnp.asarray(target), weight, strength)

        check_twice(f, z, 0.3)


def test_the_intercept_scale_and_bias():
    rng = np.random.default_rng(1)
    x, query = rng.normal(size=(6, 2)), rng.normal(size=(4, 2))
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = scored(ridge_head(3, 0.5, 2.0, -1.0), x, labels, query)
    wide, wider = (np.pad(a, ((0, 0), (0, 1)), constant_values=1) for a in (x, query))
    gram = wide.T @ wide + 0.5 * np.eye(3)
    kernel = np.linalg.solve(gram, wide.T @ np.eye(3)[labels])
    np.testing.assert_allclose(found, 2 * wider @ kernel - 1, rtol=1e-4, atol=1e-5)


def test_bad_constants_are_named():
    with pytest.raises(ValueError, match="strength is 0, expected a number above 0"):
        ridge_head(3, 0)
    with pytest.raises(ValueError, match="scale is -1"):
        ridge_head(3, 1.0, -1)
