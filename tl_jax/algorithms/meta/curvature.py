"""Learn how a task's gradients are turned before its steps."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from tl_jax.algorithms.meta.bare import bare
from tl_jax.algorithms.meta.inner import Optimiser
from tl_jax.algorithms.meta.meta_sgd import (
    check_leaves,
    moving_leaves,
    player_leaves,
)
from tl_jax.types import Array, Params, Plan, Player, Rates


def meta_curvature(name: str = "curvature") -> Optimiser:
    """G <- G x_0 M_0 x_1 M_1 ...: a learned matrix for each mode of a gradient.

    (Park and Oliva, 2019.) A kernel [I O] has one for its inputs and one for its
    outputs, [h w I O] one more for its places together, a vector [O] one. The player
    `name` is `identity_curvature`'s. It turns gradients only: put it in front of what
    steps, `joined(meta_curvature(), optax.sgd(0.1))`. Raises as `meta_sgd`.
    """

    def made(params_of: Mapping[str, Params]) -> optax.GradientTransformation:
        found = player_leaves(params_of, name)
        known = {path.rpartition("/")[0]: path for path in found}

        def update(grads: Params, state: Any, params: Any = None) -> tuple:
            check_leaves(name, known, grads)
            return jax.tree.map(turned, grads, params_of[name]), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    return made


def identity_curvature(plan: Plan, rates: Rates, tx: Any) -> Player:
    """The player of matrices, all of them identities, to descend by `tx`.

    `plan` is the model's, `rates` its inner ones. Leaf -> {mode: [n n]}.
    """

    def start(path: str, leaf: Array) -> dict[str, Array]:
        sizes = enumerate(modes(leaf.shape))
        return {str(i): jnp.eye(size, dtype=leaf.dtype) for i, size in sizes}

    return bare(moving_leaves(start, plan, rates), tx)


def modes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of a leaf's modes: outputs, inputs before them, all places before those."""
    if len(shape) < 3:
        return shape or (1,)
    return (math.prod(shape[:-2]), *shape[-2:])


def turned(gradient: Array, matrices: Mapping[str, Array]) -> Array:
    """A gradient times its matrices, each along its mode."""
    x = gradient.reshape(modes(gradient.shape))
    for mode, matrix in matrices.items():
        axis = int(mode)
        x = jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis)), 0, axis)
    return x.reshape(gradient.shape)
