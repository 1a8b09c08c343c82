"""What a fit returns: a map of source rows and one of target rows."""

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp

from tl_jax.types import Array


class Map(Protocol):
    """Rows of one domain into the shared space."""

    def __call__(self, features: Array) -> Array:
        """features [N D] -> [N E]."""
        ...


class Alignment(NamedTuple):
    """The maps of both domains: one model is then fitted and asked in their image."""

    source: Any
    """`Map` of source rows."""
    target: Any
    """`Map` of target rows."""


class Same(NamedTuple):
    """The rows as they are."""

    def __call__(self, features: Array) -> Array:
        return features


class Affine(NamedTuple):
    """x -> (x - mean) kernel + shift."""

    mean: Array
    """[D]"""
    kernel: Array
    """[D E]"""
    shift: Array
    """[E] or []"""

    def __call__(self, features: Array) -> Array:
        return (features - self.mean) @ self.kernel + self.shift


class Power(NamedTuple):
    """x -> x C^p of a covariance C = V diag(s^2) V^T + ridge I, never [D D]."""

    axes: Array
    """V [D R], of orthonormal columns"""
    gains: Array
    """[R] (s^2 + ridge)^p - ridge^p"""
    rest: Array
    """[] ridge^p, what happens to directions without variance"""

    def __call__(self, features: Array) -> Array:
        inside = ((features @ self.axes) * self.gains) @ self.axes.T
        return features * self.rest + inside


class Recolour(NamedTuple):
    """x -> ((x - mean) whiten) colour + shift."""

    mean: Array
    """[D]"""
    whiten: Power
    colour: Power
    shift: Array
    """[D]"""

    def __call__(self, features: Array) -> Array:
        return self.colour(self.whiten(features - self.mean)) + self.shift


class Radial(NamedTuple):
    """x -> sum_i exp(-gamma |x - row_i|^2) coefficient_i."""

    rows: Array
    """[N D]"""
    coefficients: Array
    """[N E]"""
    gamma: Array
    """[]"""

    def __call__(self, features: Array) -> Array:
        return radial(features, self.rows, self.gamma) @ self.coefficients


def radial(one: Array, two: Array, gamma: Array) -> Array:
    """exp(-gamma |x - y|^2). one [N D], two [M D] -> [N M]."""
    squares = (one**2).sum(1)[:, None] + (two**2).sum(1) - 2 * one @ two.T
    return jnp.exp(-gamma * jnp.maximum(squares, 0))


class General(NamedTuple):
    """x -> (x, x, 0) of the source, (x, 0, x) of the target."""

    place: Array
    """[2] (1, 0) of the source, (0, 1) of the target"""

    def __call__(self, features: Array) -> Array:
        own = [features * self.place[k] for k in (0, 1)]
        return jnp.concatenate([features, *own], axis=1)
