"""Losses of translations between two domains of pictures."""

import chex
import jax.numpy as jnp

from tl_jax.types import Array


def least_squares(logits: Array, real: bool) -> Array:
    """mean_p (logit_p - real)^2, the GAN loss of Mao et al. (2017).

    Of an example's P patches: logits [B P] -> [B]; without a sigmoid. Critics aim at 1
    for real and 0 for made pictures, a generator at 1 for what it made. TLlib averages
    over the batch at once, which is this one's mean.
    """
    chex.assert_rank(logits, 2)
    return jnp.square(logits - float(real)).mean(-1)


def difference(one: Array, other: Array, scale: float = 127.5) -> Array:
    """mean |one - other| / scale of each picture: [B H W C] twice -> [B].

    `scale` turns pictures in 0..255 into the -1..1 of CycleGAN, whose losses of cycles
    and identities this is.
    """
    chex.assert_equal_shape([one, other])
    far = jnp.abs(one.astype(jnp.float32) - other.astype(jnp.float32))
    return far.reshape(len(far), -1).mean(-1) / scale
