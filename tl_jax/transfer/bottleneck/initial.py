"""How adapters begin."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.nn import normal
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Params

Init = Literal["houlsby", "bert", "zero"]


def check_init(init: str) -> None:
    """Raise `NoMatch` for an unknown beginning."""
    one_of("adapter: init", init, get_args(Init))


def drawn(key: Key, sizes: tuple[int, int, int], init: Init) -> tuple[Params, Params]:
    """Two layers {kernel, bias}, down [I r] and up [r O], of sizes (I, r, O)."""
    wide, small, out = sizes
    k_down, k_up = jax.random.split(key)
    if init == "zero":
        down = uniform(k_down, (wide, small))
        up = jnp.zeros((small, out))
    else:
        draw = cut if init == "houlsby" else normal
        down, up = draw(k_down, (wide, small)), draw(k_up, (small, out))
    return (
        {"kernel": down, "bias": jnp.zeros(small)},
        {"kernel": up, "bias": jnp.zeros(out)},
    )


def cut(key: Key, shape: tuple[int, ...], std: float = 0.01) -> Array:
    """A normal that is cut at two of its deviations."""
    return std * jax.random.truncated_normal(key, -2.0, 2.0, shape)


def uniform(key: Key, shape: tuple[int, int]) -> Array:
    """Uniform within 1 / sqrt(I), as torch's linear layers begin."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)
