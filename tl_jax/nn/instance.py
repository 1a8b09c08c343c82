"""Normalisation of each picture by itself."""

import jax.numpy as jnp

from tl_jax.nn.norms import normalised, plain_normalised
from tl_jax.nn.patches import patched
from tl_jax.nn.rules import Rules, by_hand
from tl_jax.types import Array, Params


def instance_norm(
    site: Params, x: Array, epsilon: float = 1e-5, rules: Rules = "hand"
) -> Array:
    """Each channel of each picture to mean 0 and variance 1 (Ulyanov et al., 2016).

    By the picture's own biased variance, in training and after it. `scale` and `bias`
    [C] follow where the site has them; an empty site has none, as in CycleGAN.
    x [B ... C] -> [B ... C], in x's dtype, differentiated by `rules` (`nn.rules`).
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    scale = site.get("scale", jnp.ones(x.shape[-1], wide.dtype))
    bias = site.get("bias", jnp.zeros(x.shape[-1], wide.dtype))
    own = normalised if by_hand(rules) else plain_normalised
    y = own(epsilon, tuple(range(1, x.ndim - 1)), wide, scale, bias)
    return patched("output", site, y, x=x).astype(x.dtype)
