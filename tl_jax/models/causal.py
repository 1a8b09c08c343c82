"""What causal language models share: they read a row at once, or token by token."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax import lax

from tl_jax.nn import added, attention, embed, expand, own_tokens, patched, run_blocks
from tl_jax.nn.block import mlp
from tl_jax.nn.cached import going_on, reading, run_kept, with_room
from tl_jax.nn.dense import keys
from tl_jax.nn.rotary import Turns
from tl_jax.nn.rules import Rules
from tl_jax.tree import node, static
from tl_jax.types import Array, Cache, Decoder, Key, Model, Outputs, Params

Over = Literal["vocabulary", "sequence"]
Look = Callable[..., Array]
"""`look(site, x, key=None)`: the attention of a site."""


class Style(NamedTuple):
    """What tells one family from another."""

    enter: Callable[[Params, Array, Array, Key | None], Array]
    """(embed's site, words [B T D], positions [B T], key): positions join the words."""
    turn: Callable[[Array], Turns | None]
    """Positions [B T] -> how queries and keys are turned."""
    block: Callable[[Params, Array, Look, Key | None], Array]
    norm: Callable[[Params, Array], Array]
    """The final norm, of its site."""
    score: Callable[[Params, Array, Key | None], Array | None]
    """(whole tree, last states or features) -> logits; None without a head."""
    over: Over
    heads: int
    kv_heads: int
    rate: float
    dtype: jnp.dtype
    rules: Rules
    positions: int | None = None
    """How many there are; None where they are no table."""


class Entered(NamedTuple):
    """What the first block reads."""

    x: Array
    """[B T D], what patches put in front included."""
    mask: Array
    at: Array
    """[B T] positions."""
    bias: Array | None
    """[B 1 T T], of rows of several segments."""


@node
class Place:
    """Where the next token stands, the same for all rows."""

    column: Array
    front: int = static(0)
    """How many tokens patches have put before each row."""


def causal(style: Style, init: Callable, width: int, remat: bool = False) -> Model:
    """The model of a style."""
    wide = jnp.promote_types(style.dtype, jnp.float32)
    heads = dict(heads=style.heads, kv_heads=style.kv_heads)

    def apply(params, stats, inputs, *, key=None, norm="running"):
        k_embed, k_blocks, k_head, k_root = keys(key, 4)
        params = expand(params, k_root)
        x, mask, at, bias = entered(style, params["embed"], inputs, k_embed)
        how = heads | dict(turn=style.turn(at), causal=True, bias=bias)
        how |= dict(rate=style.rate, rules=style.rules)

        def look(site: Params, x: Array, key: Key | None = None) -> Array:
            return attention(site, x, mask, **how, key=key)

        def step(site: Params, x: Array, key: Key | None) -> Array:
            return style.block(site, x, look, key)

        last, states = run_blocks(params["blocks"], x, step, key=k_blocks, remat=remat)
        states, last, mask = own_tokens(
            inputs["tokens"].shape[1], (x, *states), last, mask
        )
        tokens = style.norm(params["norm"], last)
        found = last_of(tokens, mask)
        read = found if style.over == "sequence" else tokens
        logits = style.score(params, read, k_head)
        states = tuple(s.astype(wide) for s in states)
        return Outputs(found.astype(wide), logits, tokens.astype(wide), states), stats

    return Model(init, apply, width, decoder_of(style))


def block(
    site: Params,
    x: Array,
    look: Look,
    key: Key | None = None,
    *,
    norm: Callable[[Params, Array], Array],
    activation: str,
    rate: float = 0.0,
    rules: Rules = "hand",
) -> Array:
    """x <- x + f(norm(x)), f the attention `look`, then the MLP. x [B T D]."""
    k_a, k_m = keys(key, 2)
    k_a, k_da = keys(k_a, 2)
    k_m, k_dm = keys(k_m, 2)
    norm_a = partial(norm, site["norm_attention"])
    norm_m = partial(norm, site["norm_mlp"])
    y = look(site["attention"], norm_a(x), key=k_a)
    x = added("attention", site, x, y, norm_a, rate, k_da)
    y = mlp(site["mlp"], norm_m(x), activation=activation, rules=rules, key=k_m)
    return added("mlp", site, x, y, norm_m, rate, k_dm)


def entered(
    style: Style, site: Params, inputs: dict, key: Key | None = None
) -> Entered:
    """Words, mask and positions with what patches put in front."""
    k_tokens, k_words, k_enter, k_patch = keys(key, 4)
    tokens = inputs["tokens"]
    mask = inputs.get("mask", jnp.ones_like(tokens)).astype(bool)
    parts = inputs.get("segments")
    at = inputs.get("positions", counted(mask, parts))
    at = patched("positions", site, at)
    x = embed(site["tokens"], tokens, key=k_tokens)
    x, mask, at = patched("words", site, (x, mask, at), key=k_words)
    x = style.enter(site, x, at, k_enter)
    x, mask, at = patched("sequence", site, (x, mask, at), key=k_patch)
    if at.shape[1] != x.shape[1]:
        raise ValueError(
            f"{x.shape[1]} tokens in a row, but {at.shape[1]} positions: a patch "
            "that adds tokens adds their positions, too"
        )
    bias = None if parts is None else apart(parts, x.shape[1])
    return Entered(x.astype(style.dtype), mask, at, bias)


def counted(mask: Array, parts: Array | None) -> Array:
    """Positions [B T]: the number of real tokens in front, in the same segment."""
    at = jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0)
    if parts is None:
        return at
    fresh = jnp.diff(parts, axis=1, prepend=parts[:, :1]) != 0
    return at - lax.cummax(jnp.where(fresh, at, 0), axis=1)


def apart(parts: Array, count: int) -> Array:
    """What keeps segments from seeing each other: a bias [B 1 T T] of `count` tokens.

    parts [B T] numbers; those that patches put in front are seen by all.
    """
    more = count - parts.shape[1]
    parts = jnp.pad(jnp.asarray(parts), ((0, 0), (more, 0)), constant_values=-1)
    seen = (parts[:, :, None] == parts[:, None]) | (parts[:, None] < 0)
    return jnp.where(seen, 0.0, -1e9)[:, None]


def last_of(tokens: Array, mask: Array) -> Array:
    """The last real token's vector. tokens [B T D], mask [B T] -> [B D].

    That of the last place in a row of padding alone.
    """
    at = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    return jnp.take_along_axis(tokens, at[:, None, None], axis=1)[:, 0]


def decoder_of(style: Style) -> Decoder:
    """Start and step with a cache of keys and values.

    The cache holds what the model itself computed. Patches at `kv` put theirs in front
    at every step; those that put tokens in front, or move positions, act once, at the
    start: a further token stands one position behind the last.
    """
    how = dict(heads=style.heads, kv_heads=style.kv_heads, rules=style.rules)

    def start(params: Params, inputs: dict, length: int) -> tuple[Array, Cache]:
        params = expand(params)
        x, mask, at, bias = entered(style, params["embed"], inputs)
        if style.positions is not None and x.shape[1] + length > style.positions:
            raise ValueError(
                f"{x.shape[1]} tokens in a row and {length} more, but positions for "
                f"{style.positions}"
            )
        look = partial(reading, mask=mask, turn=style.turn(at), bias=bias, **how)
        x, pairs = run_kept(params["blocks"], x, None, blocks_of(look))
        room = jnp.zeros((len(mask), length), bool)
        last = last_of(at[..., None], mask)[:, 0]
        pairs = tuple(with_room(pair, length) for pair in pairs)
        rows = pairs, jnp.concatenate([mask, room], 1), last + 1
        front = x.shape[1] - inputs["tokens"].shape[1]
        place = Place(jnp.int32(x.shape[1]), front)
        return scores(params, last_of(x, mask)[:, None]), Cache(rows, place)

    def step(params: Params, cache: Cache, tokens: Array) -> tuple[Array, Cache]:
        params, place = expand(params), cache.shared
        pairs, mask, at = cache.rows
        mask = lax.dynamic_update_slice_in_dim(
            mask, jnp.ones((len(mask), 1), bool), place.column, 1
        )
        x = embed(params["embed"]["tokens"], tokens[:, None])
        x = style.enter(params["embed"], x, at[:, None], None).astype(style.dtype)
        turn = style.turn(at[:, None])

        def look(site: Params, x: Array, pair: Any) -> tuple[Array, Any]:
            return going_on(site, x, pair, mask, place.column, turn=turn, **how)

        x, pairs = run_kept(params["blocks"], x, pairs, blocks_of(look), place.front)
        moved = Cache((pairs, mask, at + 1), Place(place.column + 1, place.front))
        return scores(params, x), moved

    def blocks_of(look: Callable) -> Callable:
        def body(site: Params, x: Array, pair: Any) -> tuple[Array, Any]:
            kept = []

            def own(site: Params, x: Array, key: Key | None = None) -> Array:
                y, new = look(site, x) if pair is None else look(site, x, pair)
                kept.append(new)
                return y

            x = style.block(site, x, own, None)
            return x, kept[0]

        return body

    def scores(params: Params, x: Array) -> Array:
        found = style.score(params, style.norm(params["norm"], x), None)
        if found is None or style.over != "vocabulary":
            raise ValueError(
                "the model has no head that scores the vocabulary, so it writes "
                "nothing: load it with head='keep', or with a tied output layer"
            )
        return found[:, 0]

    return Decoder(start, step)
