"""Attention to tokens whose keys and values were kept."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tl_jax.nn.attention import keys_values, look_up
from tl_jax.nn.block import block_range
from tl_jax.nn.patches import patched
from tl_jax.nn.rotary import Turns
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Params

Pair = tuple[Array, Array]
"""Keys, already turned, and values [B G S d]: a site's own, without its patches'."""


def reading(
    site: Params,
    x: Array,
    mask: Array,
    *,
    kv_heads: int,
    turn: Turns | None = None,
    bias: Array | None = None,
    rules: Rules = "hand",
    **look: Any,
) -> tuple[Array, Pair]:
    """Causal self-attention as `attention` has it, and its keys and values.

    x [B T D], mask [B T] -> [B T D] and two arrays [B G T d]. `look` is what
    `look_up` takes.
    """
    k, v = keys_values(site, x, heads=kv_heads, turn=turn, rules=rules)
    how = dict(turn=turn, causal=True, bias=bias, rules=rules, source=x)
    return look_up(site, x, k, v, mask, **how, **look), (k, v)


def going_on(
    site: Params,
    x: Array,
    pair: Pair,
    mask: Array,
    at: Array,
    *,
    kv_heads: int,
    turn: Turns | None = None,
    rules: Rules = "hand",
    **look: Any,
) -> tuple[Array, Pair]:
    """Attention of one further token to those before and itself.

    x [B 1 D], pair of [B G S d], mask [B S] of what is there, the token itself, in
    column `at`, included -> [B 1 D] and the pair with the token's own.
    """
    new = keys_values(site, x, heads=kv_heads, turn=turn, rules=rules)
    k, v = (
        lax.dynamic_update_slice_in_dim(old, one.astype(old.dtype), at, 2)
        for old, one in zip(pair, new, strict=True)
    )
    how = dict(turn=turn, rules=rules, source=x)
    return look_up(site, x, k, v, mask, **how, **look), (k, v)


def with_room(pair: Pair, length: int) -> Pair:
    """A pair [B G T d] with zeros for `length` tokens more."""
    pad = [(0, 0), (0, 0), (0, length), (0, 0)]
    return jnp.pad(pair[0], pad), jnp.pad(pair[1], pad)


def single_blocks(sites: Params) -> list[Params]:
    """The blocks in order, stacked ones apart."""
    single = []
    for name in sorted(sites, key=lambda name: block_range(name).start):
        if "-" not in name:
            single.append(sites[name])
            continue
        for i, _ in enumerate(block_range(name)):
            single.append(jax.tree.map(lambda leaf, i=i: leaf[i], sites[name]))
    return single


def run_kept(
    sites: Params,
    x: Array,
    pairs: tuple[Pair | None, ...] | None,
    body: Callable[[Params, Array, Pair | None], tuple[Array, Pair]],
    front: int = 0,
) -> tuple[Array, tuple[Pair, ...]]:
    """Run blocks in order, each with its pair: `body(site, x, pair) -> (x, pair)`.

    A block's patches at `tokens` map what enters it. Where x lacks the `front` tokens
    that patches had put before the row, zeros stand for them there.
    """
    blocks, made = single_blocks(sites), []
    for site, pair in zip(blocks, pairs or [None] * len(blocks), strict=True):
        entered = x
        if any(p.point == "tokens" for p in site.get("patch", {}).values()):
            whole = jnp.pad(x, [(0, 0), (front, 0), (0, 0)])
            entered = patched("tokens", site, whole)[:, front:]
        x, pair = body(site, entered, pair)
        made.append(pair)
    return x, tuple(made)
