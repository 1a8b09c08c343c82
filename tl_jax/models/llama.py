"""Causal language models of Llama's shape (Touvron et al., 2023).

Norms by the root mean square before each branch, rotary positions, keys and values
for groups of heads, a gated MLP, and no biases.
"""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.nn import (
    added,
    attention,
    dense,
    embed,
    expand,
    normal,
    own_tokens,
    patched,
    product,
    rms_norm,
    run_blocks,
    turns,
    weight,
)
from tl_jax.nn.block import mlp
from tl_jax.nn.dense import keys
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats

Over = Literal["vocabulary", "sequence"]
SIZES: dict[str, dict[str, int]] = {
    "tinyllama": dict(
        vocabulary=32000, width=2048, depth=22, heads=32, kv_heads=4, hidden=5632
    ),
}
"""Named shapes, `llama(**SIZES["tinyllama"])`: that of 1.1 billion parameters of Zhang
et al. (2024)."""


def llama(
    *,
    vocabulary: int,
    width: int,
    depth: int,
    heads: int,
    kv_heads: int | None = None,
    hidden: int,
    head_width: int | None = None,
    base: float = 10000.0,
    epsilon: float = 1e-5,
    tied: bool = False,
    activation: str = "silu",
    attention_rate: float = 0.0,
    over: Over = "vocabulary",
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """A decoder of tokens, each of which sees those up to itself.

    Reads `tokens` [B T], `mask` [B T] (1: a token, 0: padding; all ones if it is
    absent) and `positions` [B T] (the number of real tokens in front if they are
    absent, so that padding on any side changes nothing).

    `features` are the last real token's vector behind the final norm, `tokens` all of
    them; `hidden` holds the embedding and every block's output. `over`: a `head` in
    the tree scores every token's successor, [B T V], or reads the features. With
    `tied` and no `head` in the tree, the input embedding scores the vocabulary (Press
    and Wolf, 2017). Logits are in float32 at least.

    `kv_heads` are by default `heads`, `head_width` is width / heads, `base` that of
    the rotary angles. `dtype` is what products compute in, `rules` how they are
    differentiated (`nn.rules`); `remat` recomputes each block in the backward pass. A
    patch at `sequence` gives every token a position; tokens that it puts in front are
    seen by all and are no part of what is returned.

    Raises ValueError for sizes that don't divide, `NoMatch` for unknown rules.
    """
    check_rules(rules)
    kv_heads, size = check_sizes(width, heads, kv_heads, head_width)
    if over not in get_args(Over):
        raise ValueError(f"over={over!r}; known: {', '.join(get_args(Over))}")
    wide = jnp.promote_types(dtype, jnp.float32)
    body = partial(
        block,
        heads=heads,
        kv_heads=kv_heads,
        epsilon=epsilon,
        rate=attention_rate,
        activation=activation,
        rules=rules,
    )

    def init(key: Key) -> tuple[Params, Stats]:
        k_embed, k_blocks, k_head = jax.random.split(key, 3)
        inner = (width, heads * size, kv_heads * size, hidden)
        table = normal(k_embed, (vocabulary, width))
        params: Params = {"embed": {"tokens": {"embedding": table}}}
        params["blocks"] = {
            str(i): init_block(k, *inner)
            for i, k in enumerate(jax.random.split(k_blocks, depth))
        }
        params["norm"] = {"scale": jnp.ones(width)}
        if over == "vocabulary" and not tied:
            params["head"] = {"kernel": normal(k_head, (width, vocabulary))}
        return params, {}

    def embeddings(site: Params, inputs: dict, key: Key | None) -> tuple[Array, ...]:
        k_tokens, k_patch = keys(key, 2)
        tokens = inputs["tokens"]
        mask = inputs.get("mask", jnp.ones_like(tokens)).astype(bool)
        at = inputs.get("positions", jnp.maximum(jnp.cumsum(mask, axis=1) - 1, 0))
        at = patched("positions", site, at)
        x = embed(site["tokens"], tokens, key=k_tokens)
        x, mask, at = patched("sequence", site, (x, mask, at), key=k_patch)
        if at.shape[1] != x.shape[1]:
            raise ValueError(
                f"{x.shape[1]} tokens in a row, but {at.shape[1]} positions: a patch "
                "at `sequence` that adds tokens adds their positions, too"
            )
        return x.astype(dtype), mask, at

    def scores(params: Params, x: Array, key: Key | None) -> Array | None:
        """x: the last states, or the features where the head reads those."""
        if "head" in params:
            return dense(params["head"], x, dtype=wide, key=key, rules=rules)
        if tied and over == "vocabulary":
            return product(x, weight(params["embed"]["tokens"], "embedding").T, rules)
        return None

    def apply(params, stats, inputs, *, key=None, norm="running"):
        k_embed, k_blocks, k_head, k_root = keys(key, 4)
        params = expand(params, k_root)
        x, mask, at = embeddings(params["embed"], inputs, k_embed)
        turn = turns(at, size, base=base, dtype=wide)

        def step(site: Params, x: Array, key: Key | None) -> Array:
            return body(site, x, mask, turn, key=key)

        last, states = run_blocks(params["blocks"], x, step, key=k_blocks, remat=remat)
        states, last, mask = own_tokens(
            inputs["tokens"].shape[1], (x, *states), last, mask
        )
        tokens = rms_norm(params["norm"], last, epsilon)
        found = last_of(tokens, mask)
        read = found if over == "sequence" else tokens
        logits = scores(params, read, k_head)
        states = tuple(s.astype(wide) for s in states)
        return Outputs(found.astype(wide), logits, tokens.astype(wide), states), stats

    return Model(init, apply, width)


def block(
    site: Params,
    x: Array,
    mask: Array,
    turn: tuple[Array, Array],
    *,
    heads: int,
    kv_heads: int,
    epsilon: float,
    rate: float = 0.0,
    activation: str = "silu",
    rules: Rules = "hand",
    key: Key | None = None,
) -> Array:
    """x <- x + f(norm(x)), f the causal attention, then the MLP. x [B T D]."""
    k_a, k_m = keys(key, 2)
    look = dict(heads=heads, kv_heads=kv_heads, turn=turn, causal=True, rate=rate)
    norm_a = partial(rms_norm, site["norm_attention"], epsilon=epsilon)
    norm_m = partial(rms_norm, site["norm_mlp"], epsilon=epsilon)
    k_a, k_da = keys(k_a, 2)
    k_m, k_dm = keys(k_m, 2)
    y = attention(site["attention"], norm_a(x), mask, **look, rules=rules, key=k_a)
    x = added("attention", site, x, y, norm_a, key=k_da)
    y = mlp(site["mlp"], norm_m(x), activation=activation, rules=rules, key=k_m)
    return added("mlp", site, x, y, norm_m, key=k_dm)


def last_of(tokens: Array, mask: Array) -> Array:
    """The last real token's vector. tokens [B T D], mask [B T] -> [B D].

    That of the last place in a row of padding alone.
    """
    at = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
    return jnp.take_along_axis(tokens, at[:, None, None], axis=1)[:, 0]


def check_sizes(
    width: int, heads: int, kv_heads: int | None, head_width: int | None
) -> tuple[int, int]:
    """Heads of keys and values, and a head's width; raises if they don't divide."""
    kv_heads = heads if kv_heads is None else kv_heads
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"heads {heads} are no multiple of kv_heads {kv_heads}")
    if head_width is None and width % heads:
        raise ValueError(f"width {width} is no multiple of {heads} heads")
    size = width // heads if head_width is None else head_width
    if size < 2 or size % 2:
        raise ValueError(f"a head is {size} wide, expected an even number to turn")
    return kv_heads, size


def init_block(key: Key, width: int, queries: int, groups: int, hidden: int) -> Params:
    """Attention, gated MLP and two norms of one block, kernels without biases."""
    shapes = {
        "attention": {
            "query": (width, queries),
            "key": (width, groups),
            "value": (width, groups),
            "output": (queries, width),
        },
        "mlp": {
            "gate": (width, hidden),
            "up": (width, hidden),
            "down": (hidden, width),
        },
    }
    flat = [(layer, name) for layer, sites in shapes.items() for name in sites]
    made: Params = {layer: {} for layer in shapes}
    for k, (layer, name) in zip(jax.random.split(key, len(flat)), flat, strict=True):
        made[layer][name] = {"kernel": normal(k, shapes[layer][name])}
    norms = {n: {"scale": jnp.ones(width)} for n in ("norm_attention", "norm_mlp")}
    return made | norms
