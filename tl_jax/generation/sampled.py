"""Tokens drawn from what the model finds likely."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.generation.written import written
from tl_jax.types import Array, Decoder, Key, Params


def sample(
    decoder: Decoder,
    params: Params,
    inputs: dict[str, Any],
    length: int,
    *,
    keys: Key,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    end: int,
    pad: int = 0,
) -> Array:
    """At most `length` drawn tokens that follow what `inputs` hold. [B length].

    `keys` [B], one a row: what a row gets does not depend on the others. Logits are
    divided by the `temperature`; then the `top_k` likeliest stay (0: all; Fan et al.,
    2018), then the fewest of these that hold `top_p` of the probability (Holtzman et
    al., 2020). A row ends with its first `end`; `pad` stands behind.

    Raises ValueError for a length below 1, a temperature that is not above 0, a
    negative `top_k`, and a `top_p` outside of (0, 1].
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}, expected above 0; `greedy` takes the best"
        )
    if top_k < 0:
        raise ValueError(f"top_k is {top_k}, expected 0 or more")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, expected in (0, 1]")

    def draw(logits: Array, at: Array) -> Array:
        own = jax.vmap(lambda key: jax.random.fold_in(key, at))(keys)
        kept = likely(logits.astype(jnp.float32) / temperature, top_k, top_p)
        return jax.vmap(jax.random.categorical)(own, kept)

    return written(decoder, params, inputs, length, draw, end=end, pad=pad)


def likely(logits: Array, top_k: int = 0, top_p: float = 1.0) -> Array:
    """logits [B V] with -inf for what is not to be drawn. The likeliest always stays.

    Of equal ones at the edge of `top_k` all stay.
    """
    if 0 < top_k < logits.shape[-1]:
        least = lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if top_p < 1:
        order = jnp.argsort(-logits, axis=-1)
        falling = jnp.take_along_axis(logits, order, -1)
        share = jax.nn.softmax(falling)
        before = jnp.cumsum(share, -1) - share
        kept = jnp.where(before < top_p, falling, -jnp.inf)
        logits = jnp.put_along_axis(logits, order, kept, -1, inplace=False)
    return logits
