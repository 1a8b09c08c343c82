"""The likeliest token, again and again."""

from typing import Any

from tl_jax.generation.written import written
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

    def best(logits: Array, at: Array) -> Array:
        return logits.argmax(-1)

    return written(decoder, params, inputs, length, best, end=end, pad=pad)
