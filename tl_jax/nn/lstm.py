"""Long short-term memory: one step, and over the tokens of a sequence."""

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.dense import dense
from tl_jax.nn.init import init_dense
from tl_jax.types import Array, Key, Params


def init_lstm(key: Key, inputs: int, width: int, state: int | None = None) -> Params:
    """`{"input": dense [I 4D], "state": {"kernel": [S 4D]}}`.

    Kernels have deviation 1 / sqrt(rows); the forget gate's bias starts at 1, so that
    a cell keeps what it holds (Jozefowicz et al., 2015). `state` is the width of what
    comes back, by default D.
    """
    state = width if state is None else state
    k_input, k_state = jax.random.split(key)
    site = init_dense(k_input, inputs, 4 * width, inputs**-0.5)
    site["bias"] = site["bias"].at[width : 2 * width].set(1)
    back = init_dense(k_state, state, 4 * width, state**-0.5)
    return {"input": site, "state": {"kernel": back["kernel"]}}


def lstm_step(site: Params, x: Array, state: Array, cell: Array) -> tuple[Array, Array]:
    """(h, c) of one step (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    i, f, g, o = x W + h U + b;  c' = s(f) c + s(i) tanh(g);  h' = s(o) tanh(c')

    for s the sigmoid. x [... I], state h [... S], cell c [... D] -> both [... D].
    """
    gates = dense(site["input"], x) + dense(site["state"], state)
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def lstm(site: Params, x: Array, mask: Array, *, reverse: bool = False) -> Array:
    """Hidden states after each token, from zeros; `reverse` reads from the end.

    A token whose mask is 0 is passed over: the state goes by it unchanged. x [B T I],
    mask [B T] -> [B T D].
    """
    width = site["state"]["kernel"].shape[1] // 4
    start = jnp.zeros((len(x), width), x.dtype)

    def step(carry: tuple[Array, Array], token: tuple[Array, Array]):
        own, shown = token
        new = lstm_step(site, own, *carry)
        kept = tuple(
            jnp.where(shown[:, None], a, b) for a, b in zip(new, carry, strict=True)
        )
        return kept, kept[0]

    tokens = x.swapaxes(0, 1), mask.astype(bool).T
    return lax.scan(step, (start, start), tokens, reverse=reverse)[1].swapaxes(0, 1)
