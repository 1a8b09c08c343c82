"""The two sides of an encoder-decoder of T5's shape, as functions of its tree."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from tl_jax.nn import (
    added,
    attention,
    dense,
    dropout,
    embed,
    patched,
    product,
    relative_bias,
    rms_norm,
    run_blocks,
    weight,
)
from tl_jax.nn.block import mlp
from tl_jax.nn.dense import keys
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Key, Params

Layer = Callable[..., Array]
"""`(site, x, *, key) -> y`."""


class Style(NamedTuple):
    """What all blocks of a model share, and how it scores words."""

    heads: int
    most: int
    """The distance from which on all share a bucket."""
    activation: str
    epsilon: float
    rate: float
    dtype: jnp.dtype
    rules: Rules
    remat: bool
    tied: bool
    scale: float
    """Of the states that score words."""


class Coded(NamedTuple):
    """What the encoder made: the decoder looks at `tokens`."""

    tokens: Array
    """[B P+S D], behind the norm; P are a patch's, in front."""
    mask: Array
    states: list[Array]
    """The embedding and every block's output, alike."""


def encode(style: Style, params: Params, inputs: dict, key: Key | None) -> Coded:
    """The encoder's pass over `tokens` [B S] and `mask`.

    Raises ValueError where a patch adds tokens without positions.
    """
    k_tokens, k_words, k_patch, k_drop, k_blocks, k_last = keys(key, 6)
    site, side, tokens = params["embed"], params["encoder"], inputs["tokens"]
    mask = mask_of(tokens, inputs.get("mask"))
    at = patched("positions", site, jnp.arange(tokens.shape[1])[None])
    x = embed(site["tokens"], tokens, key=k_tokens)
    x, mask, at = patched("words", site, (x, mask, at), key=k_words)
    x, mask, at = patched("sequence", site, (x, mask, at), key=k_patch)
    if at.shape[1] != x.shape[1]:
        raise ValueError(
            f"{x.shape[1]} tokens in a row, but {at.shape[1]} positions: a patch "
            "that adds tokens adds their positions, too"
        )
    x = dropout(x, style.rate, k_drop).astype(style.dtype)
    bias = bias_of(style, side["blocks"], at, at, both=True)
    looks = {"attention": partial(attention, mask=mask, bias=bias, **_how(style))}
    last, states = _run(style, side, x, looks, k_blocks, k_last)
    return Coded(last, mask, [x, *states])


def decode(
    style: Style, params: Params, inputs: dict, coded: Coded, key: Key | None
) -> tuple[Array, list[Array]]:
    """The decoder's pass over `decoder_tokens` [B T] and `decoder_mask`.

    Returns its last states [B T D] behind the norm, and all before.
    """
    k_tokens, k_drop, k_blocks, k_last = keys(key, 4)
    side, tokens = params["decoder"], inputs["decoder_tokens"]
    mask = mask_of(tokens, inputs.get("decoder_mask"))
    x = embed(params["embed"]["tokens"], tokens, key=k_tokens)
    x = dropout(x, style.rate, k_drop).astype(style.dtype)
    at = jnp.arange(tokens.shape[1])[None]
    bias = bias_of(style, side["blocks"], at, at, both=False)
    own, other = dict(mask=mask, bias=bias, causal=True), dict(mask=coded.mask)
    looks = {
        "attention": partial(attention, **own, **_how(style)),
        "cross": partial(attention, memory=coded.tokens, **other, **_how(style)),
    }
    last, states = _run(style, side, x, looks, k_blocks, k_last)
    return last, [x, *states]


def score(
    style: Style, params: Params, x: Array, key: Key | None = None
) -> Array | None:
    """Every word's score by the decoder's states: [B T D] -> [B T V].

    None where nothing in the tree scores words.
    """
    x = x * jnp.asarray(style.scale, x.dtype)
    if "head" in params:
        wide = jnp.promote_types(style.dtype, jnp.float32)
        return dense(params["head"], x, dtype=wide, key=key, rules=style.rules)
    if not style.tied:
        return None
    table = weight(params["embed"]["tokens"], "embedding")
    return product(x, table.T, style.rules)


def block(
    style: Style,
    site: Params,
    x: Array,
    looks: Mapping[str, Layer],
    key: Key | None = None,
) -> Array:
    """x <- x + f(norm(x)), f each of `looks`, then the MLP. x [B T D]."""
    think = dict(activation=style.activation, rate=style.rate, rules=style.rules)
    layers = {**looks, "mlp": partial(mlp, **think)}
    for (layer, f), k in zip(layers.items(), keys(key, len(layers)), strict=True):
        k_f, k_sum = keys(k, 2)
        norm = partial(rms_norm, site[f"norm_{layer}"], epsilon=style.epsilon)
        y = f(site[layer], norm(x), key=k_f)
        x = added(layer, site, x, y, norm, style.rate, k_sum)
    return x


def bias_of(
    style: Style, blocks: Params, queries: Array, among: Array, *, both: bool
) -> Array:
    """The bias of all blocks, by the first one's table. [B T], [B S] -> [B H T S]."""
    table = blocks["0"]["attention"]["relative"]
    return relative_bias(table, queries, among, most=style.most, both=both)


def mask_of(tokens: Array, mask: Array | None) -> Array:
    """The mask as booleans, all true where it is absent."""
    return jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)


def _how(style: Style) -> dict[str, Any]:
    """The settings of every attention: no score is scaled."""
    shared = dict(heads=style.heads, rate=style.rate, rules=style.rules)
    return shared | dict(scale=1.0)


def _run(
    style: Style,
    side: Params,
    x: Array,
    looks: Mapping[str, Layer],
    key: Key | None,
    k_last: Key | None,
) -> tuple[Array, list[Array]]:
    """All blocks of a side and its norm; every block's output beside."""

    def step(site: Params, x: Array, key: Key | None) -> Array:
        return block(style, site, x, looks, key)

    x, states = run_blocks(side["blocks"], x, step, key=key, remat=style.remat)
    return dropout(rms_norm(side["norm"], x, style.epsilon), style.rate, k_last), states
