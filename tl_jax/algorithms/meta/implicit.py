"""Differentiate a solution by what it satisfies, not by how it was found."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax

from tl_jax.algorithms.meta.conjugate import conjugate
from tl_jax.types import Array, Params


class Implicit(NamedTuple):
    """phi* = argmin L(phi) + strength/2 |phi - theta|^2 and its exact derivatives.

    dL_query/dtheta = (I + H/strength)^-1 dL_query/dphi, H the Hessian of L at phi*
    (Rajeswaran et al., 2019), found by conjugate gradients. So memory does not grow
    with the inner steps, which only have to come near phi*: any optimiser will do.
    """

    strength: float
    """How strongly a task is pulled to its start: lambda. Above -min eig(H)."""
    cg_steps: int = 5
    damping: float = 0.0
    """Added to H + strength where it is inverted: a stabler, smaller gradient."""
    tolerance: float = 1e-6
    """Conjugate gradients end once the residual's norm is this share of its first."""


def check_implicit(how: Implicit) -> None:
    """Raise ValueError for a setting that leaves nothing to solve."""
    if not how.strength > 0:
        raise ValueError(f"strength is {how.strength}, expected above 0")
    if how.cg_steps < 1:
        raise ValueError(f"cg_steps is {how.cg_steps}, expected 1 or more")
    if not how.damping >= 0:
        raise ValueError(f"damping is {how.damping}, expected 0 or more")


def pull(how: Implicit, moving: Params, start: Params) -> Array:
    """strength/2 |phi - theta|^2."""
    pairs = zip(jax.tree.leaves(moving), jax.tree.leaves(start), strict=True)
    return 0.5 * how.strength * sum(((a - b) ** 2).sum() for a, b in pairs)


def solved(
    how: Implicit, gradient: Callable[..., Params], last: Params, *outer: Any
) -> Params:
    """`last` with the derivatives by `outer` of the root of `gradient` near it.

    With g(phi, outer) = 0, d phi = -(dg/dphi)^-1 dg/douter: for every leaf that the
    gradient depends on, those that no task moves, too. The matrix is symmetric, as a
    Hessian is.
    """
    last, held = lax.stop_gradient((last, outer))
    _, turn = jax.vjp(lambda phi: gradient(phi, *held), last)

    def product(v: Params) -> Params:
        return jax.tree.map(lambda h, x: h + how.damping * x, turn(v)[0], v)

    residual = gradient(last, *outer)
    offset = jax.tree.map(lambda r: r - lax.stop_gradient(r), residual)  # 0, by value
    step = conjugate(product, offset, how.tolerance, how.cg_steps)
    return jax.tree.map(lambda x, s: x - s, last, step)
