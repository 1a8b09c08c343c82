"""Conjugate gradients that can be differentiated any number of times.

`jax.scipy.sparse.linalg.cg` cannot be transposed within `lax.custom_root`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax


def conjugate(
    product: Callable, right: Any, tolerance: float, steps: int | None = None
) -> Any:
    """x with product(x) = right, for a symmetric positive definite linear product.

    (Hestenes and Stiefel, 1952). Until the residual's norm is at most `tolerance` of
    that of `right`, or for `steps`, by default as many as there are unknowns.
    """
    count = sum(x.size for x in jax.tree.leaves(right)) if steps is None else steps

    def solve(product: Callable, right: Any) -> Any:
        limit = tolerance**2 * _dot(right, right)

        def going(carry: tuple) -> jax.Array:
            _, _, _, square, step = carry
            return (square > limit) & (step < count)

        def step(carry: tuple) -> tuple:
            x, residual, along, square, step = carry
            image = product(along)
            far = square / _dot(along, image)
            x = optax.tree.add_scale(x, far, along)
            residual = optax.tree.add_scale(residual, -far, image)
            left = _dot(residual, residual)
            along = optax.tree.add_scale(residual, left / square, along)
            return x, residual, along, left, step + 1

        zeros = jax.tree.map(jnp.zeros_like, right)
        first = zeros, right, right, _dot(right, right), 0
        return lax.while_loop(going, step, first)[0]

    return lax.custom_linear_solve(product, right, solve, solve, symmetric=True)


def _dot(x: Any, y: Any) -> jax.Array:
    pairs = zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    return sum(jnp.vdot(a, b) for a, b in pairs)
