"""Quadratic programmes over simplices, one a row, that can be differentiated.

    min_B 1/2 sum_c b_c Q b_c + <L, B>   where B >= 0 and row i sums to total_i

What is returned is the point of the central path at a small barrier mu, which solves
smooth equations: so their implicit derivatives are exact at it, whichever bounds are
met, and of any order.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_factor, cho_solve

from tl_jax.types import Array

BARRIER = {4: 1e-9, 8: 1e-12}
"""Bytes a number -> mu over the largest total: what b * slope ends at."""


class Problem(NamedTuple):
    """One programme."""

    q: Array
    """[N N] positive definite."""
    linear: Array
    """[N C]"""
    total: Array
    """[N] above 0."""
    free: Array
    """[N C] bool: elsewhere B is 0. Each row has one at least."""
    mu: Array
    """[] the barrier at the end."""


class Point(NamedTuple):
    """Where a solve stands."""

    b: Array
    slope: Array
    """[N C] the multipliers of B >= 0."""
    level: Array
    """[N] the multipliers of the sums."""


def simplex_qp(
    q: Array, linear: Array, total: Array, free: Array, *, steps: int = 15
) -> Array:
    """B [N C] of the programme above, by a primal-dual interior-point method.

    Mehrotra's predictor and corrector (1992) in a fixed number of steps. Derivatives
    by q, linear and total are implicit (Amos and Kolter, 2017), in both modes and of
    any order. q [N N], linear [N C], total [N], free [N C] bool.
    """
    count = jnp.maximum(free.sum(1), 1)
    mu = BARRIER[q.dtype.itemsize] * lax.stop_gradient(total.max())
    problem = Problem(q, linear, total, free, mu)

    def stationary(x: tuple[Array, Array]) -> tuple[Array, Array]:
        b, level = x
        safe, own = jnp.where(free, b, 1), jnp.where(free, b, 0)
        slope = full(q, own) + linear - mu / safe - level[:, None]
        return jnp.where(free, slope, b), own.sum(1) - total

    def solve(_: Callable, start: tuple[Array, Array]) -> tuple[Array, Array]:
        found = interior_point(problem, steps)
        return found.b, found.level

    def tangent(g: Callable, y: tuple[Array, Array]) -> tuple[Array, Array]:
        return by_blocks(g, y, free)

    start = jnp.where(free, (total / count)[:, None], 0), jnp.zeros_like(total)
    return lax.custom_root(stationary, start, solve, tangent)[0]


def by_blocks(g: Callable, y: tuple[Array, Array], free: Array) -> tuple:
    """x with g(x) = y for the derivative g of `stationary`, which ties no classes."""
    rows = len(free)

    def column(place: Array) -> Array:
        every = jnp.broadcast_to(place[:, None], free.shape)
        return g((every, jnp.zeros(rows, place.dtype)))[0]

    columns = jax.vmap(column)(jnp.eye(rows, dtype=y[1].dtype))  # [N' N C]
    return eliminated(columns.transpose(2, 1, 0), free)(*y)


def interior_point(problem: Problem, steps: int) -> Point:
    """The central path's point at mu, from the middle of the simplices."""

    def step(point: Point, _: None) -> tuple[Point, None]:
        return forward(problem, point), None

    return lax.scan(step, middle(problem), None, steps)[0]


def middle(problem: Problem) -> Point:
    """Even shares; slopes as large as the gradient's spread, 1 at least."""
    q, linear, total, free, _ = problem
    count = free.sum(1)
    b = jnp.where(free, (total / count)[:, None], 0)
    gradient = jnp.where(free, full(q, b) + linear, 0)
    mean = gradient.sum(1) / count
    spread = jnp.where(free, gradient - mean[:, None], 0)
    size = jnp.maximum(jnp.abs(spread).max(), 1)
    return Point(b, jnp.where(free, size, 0), mean - size)


def forward(problem: Problem, point: Point) -> Point:
    """One predictor and corrector step."""
    free, (b, slope, level) = problem.free, point
    safe = jnp.where(free, b, 1)
    ratio = jnp.where(free, slope / safe, 0)
    off = jnp.where(
        free, full(problem.q, b) + problem.linear - slope - level[:, None], 0
    )
    over = problem.total - b.sum(1)
    solve = eliminated(blocks_of(problem.q, ratio, free), free)
    places = free.sum()

    def direction(product: Array) -> Point:
        """To b * slope + first-order terms = product."""
        aim = jnp.where(free, product / safe - slope, 0)
        to_b, to_level = solve(aim - off, over)
        return Point(to_b, aim - ratio * to_b, to_level)

    mean = (b * slope).sum() / places
    guess = direction(jnp.zeros_like(b))
    far = longest(problem, point, guess)
    left = ((b + far * guess.b) * (slope + far * guess.slope)).sum() / places
    aim = jnp.maximum(mean * (left / mean) ** 3, problem.mu)
    bend = jnp.where(mean > 3 * problem.mu, guess.b * guess.slope, 0)
    step = direction(aim - bend)
    far = jnp.minimum(1, 0.99 * longest(problem, point, step))
    return jax.tree.map(lambda x, d: x + far * d, point, step)


def longest(problem: Problem, point: Point, step: Point) -> Array:
    """The longest step, 1 at most, that keeps b and slope at 0 or more."""

    def own(x: Array, d: Array) -> Array:
        down = problem.free & (d < 0)
        return jnp.where(down, -x / jnp.where(down, d, 1), 1).min()

    both = own(point.b, step.b), own(point.slope, step.slope)
    return jnp.minimum(1, jnp.minimum(*both))


def full(q: Array, b: Array) -> Array:
    """q b in full precision on every device."""
    return jnp.matmul(q, b, precision="highest")


def blocks_of(q: Array, ratio: Array, free: Array) -> Array:
    """[C N N] Q + diag(ratio) by class, 1 on the diagonal of what is not free."""
    own = free.T.astype(q.dtype)
    between = own[:, :, None] * own[:, None]
    return q * between + jax.vmap(jnp.diag)((ratio + ~free).T)


def eliminated(blocks: Array, free: Array) -> Callable:
    """(right [N C], sums [N]) -> (x [N C], level [N]) of the equations below.

    M_c x_c - level = right_c, where it is free, and the rows of x add up to sums.
    blocks M [C N N], free [N C].
    """
    eye = jnp.broadcast_to(jnp.eye(len(free), dtype=blocks.dtype), blocks.shape)
    inverse = cho_solve((jnp.linalg.cholesky(blocks), True), eye)
    own = free.T.astype(blocks.dtype)
    between = own[:, :, None] * own[:, None]
    schur = cho_factor((inverse * between).sum(0), lower=True)

    def solve(right: Array, sums: Array) -> tuple[Array, Array]:
        x = product(right)
        level = cho_solve(schur, sums - jnp.where(free, x, 0).sum(1))
        return x + product(jnp.where(free, level[:, None], 0)), level

    def product(right: Array) -> Array:
        return jnp.einsum("cij,jc->ic", inverse, right, precision="highest")

    return solve
