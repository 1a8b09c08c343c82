"""The likeliest token, again and again."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from tl_jax.types import Array, Decoder, Params


def greedy(
    decoder: Decoder,
    params: Params,
    inputs: dict[str, Any],
    length: int,
    *,
    end: int,
    pad: int = 0,
) -> Array:
    """At most `length` tokens that follow what `inputs` hold. [B length].

    A row ends with its first `end`; `pad` stands behind. The loop stops once all rows
    have ended. Raises ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"greedy: length is {length}, expected 1 or more")
    logits, cache = decoder.start(params, inputs, length)
    rows = jnp.full((len(logits), length), pad, jnp.int32)

    def chosen(logits: Array, done: Array) -> Array:
        return jnp.where(done, pad, logits.argmax(-1).astype(jnp.int32))

    def more(carry: tuple) -> Array:
        at, _, done, _ = carry
        return (at < length) & ~done.all()

    def step(carry: tuple) -> tuple:
        at, rows, done, cache = carry
        last = lax.dynamic_index_in_dim(rows, at - 1, 1, keepdims=False)
        logits, cache = decoder.step(params, cache, last)
        token = chosen(logits, done)
        rows = lax.dynamic_update_index_in_dim(rows, token, at, 1)
        return at + 1, rows, done | (token == end), cache

    token = chosen(logits, jnp.zeros(len(logits), bool))
    begun = (jnp.int32(1), rows.at[:, 0].set(token), token == end, cache)
    return lax.while_loop(more, step, begun)[1]
