"""Initial values of the layers."""

import jax
import jax.numpy as jnp

from tl_jax.types import Array, Key, Params


def normal(key: Key, shape: tuple[int, ...], std: float = 0.02) -> Array:
    """Normal values cut at two standard deviations, as BERT and ViT start."""
    return std * jax.random.truncated_normal(key, -2, 2, shape)


def init_dense(key: Key, d_in: int, d_out: int, std: float | None = None) -> Params:
    """`{"kernel": [d_in d_out], "bias": [d_out]}`; `std=None` is He's sqrt(2/d_in)."""
    std = (2 / d_in) ** 0.5 if std is None else std
    return {"kernel": normal(key, (d_in, d_out), std), "bias": jnp.zeros(d_out)}


def init_norm(width: int) -> Params:
    """`{"scale": ones [D], "bias": zeros [D]}`."""
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}
