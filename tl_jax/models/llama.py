"""Causal language models of Llama's shape (Touvron et al., 2023).

Norms by the root mean square before each branch, rotary positions, keys and values
for groups of heads, a gated MLP, and biases in few.
"""

from collections.abc import Collection
from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp

from tl_jax.models.causal import Over, Style, block, causal
from tl_jax.nn import dense, normal, product, rms_norm, turns, weight
from tl_jax.nn.rotary import Scaling
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Array, Key, Model, Params, Stats

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
    scaling: Scaling | None = None,
    epsilon: float = 1e-5,
    tied: bool = False,
    activation: str = "silu",
    biases: Collection[str] = (),
    attention_rate: float = 0.0,
    over: Over = "vocabulary",
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """A decoder of tokens, each of which sees those up to itself.

    Reads `tokens` [B T] and, where they are given, `mask` [B T] (1: a token, 0:
    padding), `segments` [B T] (numbers of the texts in a row, which don't see each
    other) and `positions` [B T]: by default the number of real tokens in front, in the
    same segment, so that padding on any side changes nothing.

    `features` are the last real token's vector behind the final norm, `tokens` all of
    them; `hidden` holds the embedding and every block's output. `over`: a `head` in
    the tree scores every token's successor, [B T V], or reads the features. With
    `tied` and no `head` in the tree, the input embedding scores the vocabulary (Press
    and Wolf, 2017). Logits are in float32 at least.

    `kv_heads` are by default `heads`, `head_width` is width / heads, `base` that of
    the rotary angles, `scaling` what slows them (`nn.rotary`); `biases` names
    the layers whose products have them, "attention" or "mlp". `dtype` is what products
    compute in, `rules` how they are differentiated (`nn.rules`); `remat` recomputes
    each block in the backward pass. A patch at `words` or `sequence` gives every token
    a position; those that it puts in front are seen by all and are no part of what is
    returned. `decode` goes on token by token (`models.causal`).

    Raises ValueError for sizes that don't divide, `NoMatch` for unknown rules.
    """
    check_rules(rules)
    kv_heads, size = check_sizes(width, heads, kv_heads, head_width)
    if over not in get_args(Over):
        raise ValueError(f"over={over!r}; known: {', '.join(get_args(Over))}")
    wide = jnp.promote_types(dtype, jnp.float32)
    norm = partial(rms_norm, epsilon=epsilon)

    def init(key: Key) -> tuple[Params, Stats]:
        k_embed, k_blocks, k_head = jax.random.split(key, 3)
        inner = (width, heads * size, kv_heads * size, hidden)
        table = normal(k_embed, (vocabulary, width))
        params: Params = {"embed": {"tokens": {"embedding": table}}}
        params["blocks"] = {
            str(i): init_block(k, *inner, biases)
            for i, k in enumerate(jax.random.split(k_blocks, depth))
        }
        params["norm"] = {"scale": jnp.ones(width)}
        if over == "vocabulary" and not tied:
            params["head"] = {"kernel": normal(k_head, (width, vocabulary))}
        return params, {}

    def scores(params: Params, x: Array, key: Key | None) -> Array | None:
        """x: the last states, or the features where the head reads those."""
        if "head" in params:
            return dense(params["head"], x, dtype=wide, key=key, rules=rules)
        if tied and over == "vocabulary":
            return product(x, weight(params["embed"]["tokens"], "embedding").T, rules)
        return None

    style = Style(
        enter=lambda site, words, at, key: words,
        turn=lambda at: turns(at, size, base=base, scaling=scaling, dtype=wide),
        block=partial(block, norm=norm, activation=activation, rules=rules),
        norm=norm,
        score=scores,
        over=over,
        heads=heads,
        kv_heads=kv_heads,
        rate=attention_rate,
        dtype=dtype,
        rules=rules,
    )
    return causal(style, init, width, remat)


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


def init_block(
    key: Key,
    width: int,
    queries: int,
    groups: int,
    hidden: int,
    biases: Collection[str] = (),
) -> Params:
    """Attention, gated MLP and two norms of one block."""
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
        site = {"kernel": normal(k, shapes[layer][name])}
        if layer in biases:
            site["bias"] = jnp.zeros(shapes[layer][name][1])
        made[layer][name] = site
    norms = {n: {"scale": jnp.ones(width)} for n in ("norm_attention", "norm_mlp")}
    return made | norms
