"""Multi-head attention."""

import jax
import jax.numpy as jnp

from tl_jax.nn.dense import dense, dropout, keys
from tl_jax.nn.patches import patched
from tl_jax.types import Array, Key, Params


def split_heads(x: Array, heads: int) -> Array:
    """[B T D] -> [B H T D/H], the layout in which the products run fastest."""
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def attend(q: Array, k: Array, v: Array, mask: Array, key=None, rate=0.0) -> Array:
    """softmax(q k^T / sqrt(d)) v, the softmax in float32.

    q [B H T d], k and v [B H S d], mask (True: look at it) broadcast to [B H T S]
    -> [B H T d]. A row that may look at nothing takes the mean of all values, never
    NaN.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k, preferred_element_type=wide)
    scores = scores / q.shape[-1] ** 0.5
    scores = jnp.where(mask, scores, jnp.finfo(wide).min)
    weights = dropout(jax.nn.softmax(scores, axis=-1), rate, key).astype(q.dtype)
    return jnp.einsum("bhts,bhsd->bhtd", weights, v, preferred_element_type=wide)


def attention(
    site: Params,
    x: Array,
    mask: Array,
    *,
    heads: int,
    rate: float = 0.0,
    key: Key | None = None,
) -> Array:
    """Self-attention of one site (Vaswani et al., 2017).

    x [B T D], mask [B S] of the keys (True: present) -> [B T D]. Patches at `kv` map
    (keys [B H S d], values, mask [B S]); those at `branch` the result, with x beside.
    """
    k_q, k_k, k_v, k_o, k_w, k_p, k_b = keys(key, 7)
    q = split_heads(dense(site["query"], x, key=k_q), heads)
    k = split_heads(dense(site["key"], x, key=k_k), heads)
    v = split_heads(dense(site["value"], x, key=k_v), heads)
    k, v, mask = patched("kv", site, (k, v, mask), x=x, key=k_p)
    y = attend(q, k, v, mask[:, None, None, :], k_w, rate).astype(x.dtype)
    y = y.swapaxes(1, 2).reshape(*x.shape[:2], -1)
    y = dense(site["output"], y, key=k_o)
    return patched("branch", site, y, x=x, key=k_b)
