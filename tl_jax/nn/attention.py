"""Multi-head attention."""

import jax.numpy as jnp

from tl_jax.nn.attend import attend
from tl_jax.nn.dense import dense, keys
from tl_jax.nn.patches import patched
from tl_jax.nn.rotary import Turns, rotary
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Key, Params


def split_heads(x: Array, heads: int) -> Array:
    """[B T D] -> [B H T D/H], the layout in which the products run fastest."""
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def earlier(mask: Array, tokens: int) -> Array:
    """What each token may look at: keys that are present and no later than itself.

    mask [B S] -> [B T S]. The tokens' own keys are the last T; those in front, which
    patches add, are before them all.
    """
    count = mask.shape[1]
    at = jnp.arange(count - tokens, count)[:, None]
    return mask[:, None] & (jnp.arange(count) <= at)


def attention(
    site: Params,
    x: Array,
    mask: Array,
    *,
    heads: int,
    kv_heads: int | None = None,
    turn: Turns | None = None,
    causal: bool = False,
    bias: Array | None = None,
    memory: Array | None = None,
    scale: float | None = None,
    rate: float = 0.0,
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """Attention of one site to its own tokens, or to others (Vaswani et al., 2017).

    x [B T D], mask [B S] of the keys (True: present) -> [B T D]. Keys and values are
    of `memory` [B S D], by default of x itself. `kv_heads` are the heads G of keys and
    values, by default those of the queries; `turn` rotates queries and keys; `causal`
    shows each token the ones up to itself; `bias` [1 or B, H T S] is added to the
    scores, which `scale` multiplies, 1 / sqrt(d) by default; `rules` say how all is
    differentiated (`nn.rules`).

    Patches at `kv` map (keys [B G S d], values, mask [B S]), the keys already turned,
    and put new ones in front, which get no bias; those at `branch` the result, with x
    beside.
    """
    k_found, k_look = keys(key, 2)
    source = x if memory is None else memory
    groups = dict(heads=kv_heads or heads, turn=turn, rules=rules)
    k, v = keys_values(site, source, **groups, key=k_found)
    how = dict(heads=heads, turn=turn, causal=causal, bias=bias, scale=scale)
    how |= dict(source=source, rate=rate, rules=rules, key=k_look)
    return look_up(site, x, k, v, mask, **how)


def keys_values(
    site: Params,
    source: Array,
    *,
    heads: int,
    turn: Turns | None = None,
    rules: Rules = "hand",
    key: Key | None = None,
) -> tuple[Array, Array]:
    """The site's keys and values of source [B S D]: two arrays [B G S d]."""
    k_k, k_v = keys(key, 2)
    k = split_heads(dense(site["key"], source, key=k_k, rules=rules), heads)
    v = split_heads(dense(site["value"], source, key=k_v, rules=rules), heads)
    return k if turn is None else rotary(k, turn), v


def look_up(
    site: Params,
    x: Array,
    k: Array,
    v: Array,
    mask: Array,
    *,
    heads: int,
    turn: Turns | None = None,
    causal: bool = False,
    bias: Array | None = None,
    scale: float | None = None,
    source: Array | None = None,
    rate: float = 0.0,
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """`attention` to keys and values that are there already, as a cache has them.

    x [B T D], k and v [B G S d], mask [B S] -> [B T D]; `source` is what they are of,
    which patches at `kv` may read.
    """
    k_q, k_o, k_w, k_p, k_b = keys(key, 5)
    q = split_heads(dense(site["query"], x, key=k_q, rules=rules), heads)
    q = q if turn is None else rotary(q, turn)
    k, v, mask = patched("kv", site, (k, v, mask), x=source, key=k_p)
    seen = earlier(mask, x.shape[1]) if causal else mask[:, None, :]
    how = dict(bias=in_front(bias, k.shape[2]), scale=scale)
    y = attend(q, k, v, seen[:, None], k_w, rate, rules, **how).astype(x.dtype)
    y = y.swapaxes(1, 2).reshape(*x.shape[:2], -1)
    y = dense(site["output"], y, key=k_o, rules=rules)
    return patched("branch", site, y, x=x, key=k_b)


def in_front(bias: Array | None, count: int) -> Array | None:
    """A bias [... S] of the last S of `count` keys, with zeros for those in front."""
    if bias is None or bias.shape[-1] == count:
        return bias
    more = [(0, 0)] * (bias.ndim - 1) + [(count - bias.shape[-1], 0)]
    return jnp.pad(bias, more)
