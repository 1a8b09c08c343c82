"""T5's decoder token by token, with the keys and values of those before kept."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from tl_jax.models.t5_sides import Style, bias_of, block, encode, score
from tl_jax.nn import embed, expand, patched, rms_norm
from tl_jax.nn.attention import keys_values, look_up
from tl_jax.nn.cached import Pair, single_blocks
from tl_jax.types import Array, Cache, Decoder, Params


class Shared(NamedTuple):
    """What all sequences of an example look at."""

    at: Array
    """How many tokens there are."""
    mask: Array
    """[B S] of the encoder's tokens."""
    other: tuple[Pair, ...]
    """Of the encoder's tokens, a block each."""


def decoder_of(style: Style, first: int) -> Decoder:
    """Start and step; a sequence begins with the token `first`."""

    def start(params: Params, inputs: dict, length: int) -> tuple[Array, Cache]:
        whole = expand(params)
        coded = encode(style, whole, inputs, None)
        how = dict(heads=style.heads, rules=style.rules)
        other = tuple(
            keys_values(site["cross"], coded.tokens, **how)
            for site in single_blocks(whole["decoder"]["blocks"])
        )
        shape = (*other[0][0].shape[:2], length, other[0][0].shape[3])
        own = tuple((jnp.zeros(shape, style.dtype),) * 2 for _ in other)
        shared = Shared(jnp.int32(0), coded.mask, other)
        tokens = jnp.full(len(coded.mask), first, jnp.int32)
        return step(params, Cache(own, shared), tokens)

    def step(params: Params, cache: Cache, tokens: Array) -> tuple[Array, Cache]:
        params, shared = expand(params), cache.shared
        side, at = params["decoder"], shared.at
        x = embed(params["embed"]["tokens"], tokens[:, None]).astype(style.dtype)
        among = jnp.arange(cache.rows[0][0].shape[2])
        seen = jnp.broadcast_to(among <= at, (len(x), len(among)))
        bias = bias_of(style, side["blocks"], at[None, None], among[None], both=False)
        own = []
        for site, pair, other in zip(
            single_blocks(side["blocks"]), cache.rows, shared.other, strict=True
        ):
            kept: list[Pair] = []
            looks = {
                "attention": partial(_to_own, style, pair, seen, bias, at, kept),
                "cross": partial(_to_other, style, other, shared.mask),
            }
            x = block(style, site, patched("tokens", site, x), looks)
            own += kept
        x = rms_norm(side["norm"], x, style.epsilon)
        moved = Cache(tuple(own), shared._replace(at=at + 1))
        return score(style, params, x)[:, 0], moved

    return Decoder(start, step)


def _to_own(
    style: Style,
    pair: Pair,
    seen: Array,
    bias: Array,
    at: Array,
    kept: list[Pair],
    site: Params,
    x: Array,
    *,
    key: Any = None,
) -> Array:
    """Attention to the tokens so far, x [B 1 D] among them; `kept` gets them all."""
    new = keys_values(site, x, heads=style.heads, rules=style.rules)
    k, v = (
        lax.dynamic_update_slice_in_dim(old, one.astype(old.dtype), at, 2)
        for old, one in zip(pair, new, strict=True)
    )
    kept.append((k, v))
    how = dict(heads=style.heads, bias=bias, scale=1.0, rules=style.rules)
    return look_up(site, x, k, v, seen, **how, source=x)


def _to_other(
    style: Style, pair: Pair, mask: Array, site: Params, x: Array, *, key: Any = None
) -> Array:
    """Attention to the encoder's tokens, of all sequences of an example at once.

    x [B*K 1 D]: the K sequences are K queries.
    """
    how = dict(heads=style.heads, scale=1.0, rules=style.rules)
    rows = x.reshape(len(mask), -1, x.shape[-1])
    return look_up(site, rows, *pair, mask, **how).reshape(x.shape)
