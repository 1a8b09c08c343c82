"""Embeddings of examples in the light of a set: matching networks' second half."""

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.lstm import init_lstm, lstm, lstm_step
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats


def full_context(width: int, *, processing_steps: int = 5) -> Model:
    """Full context embeddings of vectors [D] (Vinyals et al., 2016).

    Support, by a bidirectional LSTM over the set in its order:
        g_i = h->_i + h<-_i + g'_i
    Queries, by an LSTM that looks at the set K times (`processing_steps`):
        h^, c = LSTM(f', [h, r], c);  h = h^ + f';  r = sum_i softmax_i(h g_i) g_i
    from h = c = 0 and what h = 0 reads, the mean; f is the last h.

    Reads `support` [N D], `mask` [N] (0: passed over) and `query` [B D]: features f
    [B D] and `hidden` (g [N D],). Raises ValueError for fewer steps than one.
    """
    if processing_steps < 1:
        raise ValueError(f"processing_steps is {processing_steps}, expected 1 or more")

    def init(key: Key) -> tuple[Params, Stats]:
        k_forward, k_backward, k_read = jax.random.split(key, 3)
        return {
            "forward": init_lstm(k_forward, width, width),
            "backward": init_lstm(k_backward, width, width),
            "read": init_lstm(k_read, width, width, state=2 * width),
        }, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        g = in_order(params, inputs["support"], inputs["mask"])
        f = looking(params["read"], inputs["query"], g, inputs["mask"])
        return Outputs(f, hidden=(g,)), stats

    def looking(site: Params, query: Array, g: Array, mask: Array) -> Array:
        seen = jnp.where(mask.astype(bool), 0, jnp.asarray(-1e9, g.dtype))

        def look(h: Array) -> Array:
            return jax.nn.softmax(h @ g.T + seen, axis=-1) @ g

        def step(carry: tuple[Array, Array], _: None):
            h, cell = carry
            state = jnp.concatenate([h, look(h)], axis=-1)
            h, cell = lstm_step(site, query, state, cell)
            return (h + query, cell), None

        start = jnp.zeros_like(query), jnp.zeros_like(query)
        return lax.scan(step, start, None, processing_steps)[0][0]

    return Model(init, apply, width)


def in_order(params: Params, support: Array, mask: Array) -> Array:
    """g [N D] of a support set [N D]."""
    row, shown = support[None], mask[None]
    forward = lstm(params["forward"], row, shown)[0]
    backward = lstm(params["backward"], row, shown, reverse=True)[0]
    return forward + backward + support
