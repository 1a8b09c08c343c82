"""Gaussian kernels between the rows of a set, by one product of matrices."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.types import Array

LONGEST = 32
"""Squared again and again, an exponential keeps 1 / LONGEST of its precision."""


class Gaussians(NamedTuple):
    """k(x, y) = mean_u exp(-|x - y|^2 / (2 s_u w)), or the sum over u.

    `scales` are s_u. `width` is w: a number (sigma^2), or "median" or "mean" of the
    squared distances between the rows of both domains. The median is of pairs of
    different rows; the mean counts each row with itself, as TLlib does. Neither has a
    gradient.
    """

    scales: tuple[float, ...] = (1.0,)
    width: float | Literal["median", "mean"] = "median"
    summed: bool = False


def checked(name: str, kernel: Gaussians) -> Gaussians:
    """The kernel; raises ValueError where it is none."""
    scales, width = kernel.scales, kernel.width
    if not scales or not all(s > 0 for s in scales):
        raise ValueError(f"{name}: scales are {scales}, expected positive numbers")
    if isinstance(width, str) and width not in ("median", "mean"):
        raise ValueError(f'{name}: width is {width!r}, expected "median" or "mean"')
    if isinstance(width, int | float) and not width > 0:
        raise ValueError(f"{name}: width is {width}, expected a positive number")
    return kernel


@jax.custom_jvp
def gram(x: Array) -> Array:
    """x_i x_j. x [N D] -> [N N]; its gradient is one product, as it is symmetric."""
    return jnp.einsum("nd,md->nm", x, x, precision="highest")


@gram.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (along,) = primals, tangents
    half = jnp.einsum("nd,md->nm", along, x, precision="highest")
    return gram(x), half + half.T


def centred(x: Array, weight: Array) -> Array:
    """x less its mean, which has no gradient: no distance depends on it.

    Distances come from products, which would cancel where the mean is far from 0.
    x [N D], weight [N] -> [N D].
    """
    return x - jax.lax.stop_gradient(_mean(x, weight))


def distances(x: Array) -> Array:
    """|x_i - x_j|^2 = |x_i|^2 + |x_j|^2 - 2 x_i x_j. Centred x [N D] -> [N N]."""
    products = gram(x)
    itself = jnp.eye(len(x), dtype=bool)
    squares = jnp.where(itself, products, 0).sum(0)
    return jnp.maximum(squares[:, None] + squares - 2 * products, 0)


def width_of(
    kernel: Gaussians, x: Array, weight: Array, between: Array | None = None
) -> Array:
    """The kernel's w: 1 where all rows are one point.

    Centred x [N D], weight [N], their distances [N N] where they are known -> [].
    """
    if kernel.width == "mean":
        found = 2 * _mean(jnp.square(x).sum(-1), weight)
    elif kernel.width == "median":
        found = _median(distances(x) if between is None else between, weight)
    else:
        return jnp.asarray(kernel.width, x.dtype)
    return jax.lax.stop_gradient(jnp.where(found > 0, found, 1))


def mixture(kernel: Gaussians, squares: Array, width: Array) -> Array:
    """The kernel of squared distances [...] -> [...].

    Where a scale is half of another one, its exponential is the square of the other's.
    """
    scales = sorted(kernel.scales, reverse=True)
    total, begun, before, value = jnp.zeros_like(squares), 0.0, 0.0, squares
    for scale in scales:
        doublings = _doublings(before / scale)
        if doublings is not None and begun / scale <= LONGEST:
            for _ in range(doublings):
                value = value * value
        else:
            value, begun = jnp.exp(squares * (-0.5 / (scale * width))), scale
        total, before = total + value, scale
    return total if kernel.summed else total / len(scales)


def _doublings(ratio: float) -> int | None:
    """log2 of a ratio that is a power of two, None for others."""
    return next((n for n in range(6) if ratio == 2**n), None)


def _mean(values: Array, weight: Array) -> Array:
    """Weighted mean over the rows, 0 where nothing weighs anything."""
    total = weight.sum()
    return jnp.tensordot(weight / jnp.where(total > 0, total, 1), values, 1)


def _median(between: Array, weight: Array) -> Array:
    """The median over pairs of different rows that weigh anything. [N N] -> []."""
    rows, columns = jnp.triu_indices(len(between), 1)
    chosen = (weight[rows] > 0) & (weight[columns] > 0)
    values = jax.lax.stop_gradient(between)[rows, columns]
    order = jnp.sort(jnp.where(chosen, values, jnp.inf))
    count = chosen.sum()
    last = jnp.maximum(count - 1, 0)
    low, high = order[last // 2], order[(last + 1) // 2]
    return jnp.where(count > 0, (low + high) / 2, 0)
