"""The loop that writes: one token after another until every row has ended."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from tl_jax.types import Array, Decoder, Params

Choose = Callable[[Array, Array], Array]
"""(logits [B V], the number of the step) -> the next tokens [B]."""


def written(
    decoder: Decoder,
    params: Params,
    inputs: dict[str, Any],
    length: int,
    choose: Choose,
    *,
    end: int,
    pad: int = 0,
) -> Array:
    """At most `length` tokens that follow what `inputs` hold. [B length].

    A row ends with its first `end`; `pad` stands behind. The loop stops once all rows
    have ended. Raises ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"length is {length}, expected 1 or more")
    logits, cache = decoder.start(params, inputs, length)
    rows = jnp.full((len(logits), length), pad, jnp.int32)

    def chosen(logits: Array, at: Array, done: Array) -> Array:
        return jnp.where(done, pad, choose(logits, at).astype(jnp.int32))

    def more(carry: tuple) -> Array:
        at, _, done, _ = carry
        return (at < length) & ~done.all()

    def step(carry: tuple) -> tuple:
        at, rows, done, cache = carry
        last = lax.dynamic_index_in_dim(rows, at - 1, 1, keepdims=False)
        logits, cache = decoder.step(params, cache, last)
        token = chosen(logits, at, done)
        rows = lax.dynamic_update_index_in_dim(rows, token, at, 1)
        return at + 1, rows, done | (token == end), cache

    token = chosen(logits, jnp.int32(0), jnp.zeros(len(logits), bool))
    begun = (jnp.int32(1), rows.at[:, 0].set(token), token == end, cache)
    return lax.while_loop(more, step, begun)[1]
