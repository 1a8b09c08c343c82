"""Features to mean 0 and deviation 1, and back into a kernel and a bias."""

from typing import NamedTuple

import jax.numpy as jnp

from tl_jax.types import Array


class Probe(NamedTuple):
    """A fitted probe: `features @ kernel + bias` on raw features.

    `{"kernel": probe.kernel, "bias": probe.bias}` is a model's `head` site.
    """

    kernel: Array
    """[D C] with the standardisation folded in."""
    bias: Array
    """[C]"""
    strength: Array
    """The chosen L2 strength."""
    scores: Array
    """[S] by strength as given, higher is better; NaN where nothing was held out."""
    converged: Array
    """True if the fit at the chosen strength reached its tolerance."""


class Standard(NamedTuple):
    """What makes features standard; constant ones become 0."""

    mean: Array
    """[D]"""
    inverse: Array
    """[D] 1 / deviation, 0 where a feature is constant."""

    def __call__(self, features: Array) -> Array:
        return (features - self.mean) * self.inverse

    def fold(self, kernel: Array, bias: Array) -> tuple[Array, Array]:
        """From standard to raw features: kernel [S D C] and bias [S C]."""
        kernel = self.inverse[:, None] * kernel
        return kernel, bias - jnp.einsum("d,sdc->sc", self.mean, kernel)


def standard(features: Array, weight: Array) -> Standard:
    """Weighted mean and deviation. features [N D] float32, weight [N] of sum 1."""
    mean = weight @ features
    mean = mean + weight @ (features - mean)
    deviation = jnp.sqrt(weight @ (features - mean) ** 2)
    size = jnp.abs(features).max(0, where=weight[:, None] > 0, initial=0.0)
    varies = deviation > 4 * jnp.finfo(jnp.float32).eps * size
    inverse = jnp.where(varies, 1.0 / jnp.where(varies, deviation, 1.0), 0.0)
    return Standard(mean, inverse)


def choose(kernels: Array, biases: Array, strengths, scores, converged) -> Probe:
    """The best by score, of equals the strongest, where nothing is known too.

    kernels [S D C], biases [S C], strengths [S], scores [S], converged [S].
    """
    strengths = jnp.asarray(strengths, jnp.float32)
    known = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    best = jnp.argmax(jnp.where(known == known.max(), strengths, -jnp.inf))
    return Probe(kernels[best], biases[best], strengths[best], scores, converged[best])
