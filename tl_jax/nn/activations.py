"""Activations by the names that configs give them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.rules import Rules, by_hand
from tl_jax.tree import one_of
from tl_jax.types import Array


@jax.custom_jvp
def gelu(x: Array) -> Array:
    """x times the normal distribution's Phi(x) (Hendrycks and Gimpel, 2016).

    Computed in float32 at least and rounded once. Its own rule, dy = (Phi(x) +
    x phi(x)) dx, keeps one array for the backward pass, in x's dtype.
    """
    return plain_gelu(x)


def plain_gelu(x: Array) -> Array:
    """The same with JAX's own derivatives."""
    return _gelu(x)[0].astype(x.dtype)


@gelu.defjvp
def _gelu_rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y, slope = _gelu(x)
    return y.astype(x.dtype), slope.astype(x.dtype) * dx


def _gelu(x: Array) -> tuple[Array, Array]:
    """The value and the derivative, in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    below = 0.5 * (1 + lax.erf(wide * 0.5**0.5))
    density = jnp.exp(-0.5 * wide * wide) * (2 * jnp.pi) ** -0.5
    return wide * below, below + wide * density


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": jax.nn.gelu,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}
PLAIN: dict[str, Callable[[Array], Array]] = {"gelu": plain_gelu}
"""Of those with a rule by hand: the same without."""


def activate(name: str, x: Array, rules: Rules = "hand") -> Array:
    """The activation of that name, by `rules` (`nn.rules`); `NoMatch` for another."""
    one_of("activation", name, ACTIVATIONS)
    own = ACTIVATIONS[name]
    return (own if by_hand(rules) else PLAIN.get(name, own))(x)
