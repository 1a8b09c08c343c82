"""Causal language models of GPT-2's shape (Radford et al., 2019).

Learned positions, layer norms before each branch and at the end, biases throughout.
"""

from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp

from tl_jax.models.bert import init_block
from tl_jax.models.causal import Over, Style, block, causal
from tl_jax.nn import (
    dense,
    dropout,
    embed,
    init_norm,
    layer_norm,
    normal,
    product,
    weight,
)
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Array, Key, Model, Params, Stats

SIZES: dict[str, dict[str, int]] = {
    "gpt2": dict(vocabulary=50257, width=768, depth=12, heads=12, hidden=3072),
}
"""Named shapes, `gpt2(**SIZES["gpt2"])`: that of 124 million parameters."""


def gpt2(
    *,
    vocabulary: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int,
    positions: int = 1024,
    epsilon: float = 1e-5,
    tied: bool = True,
    activation: str = "gelu_new",
    rate: float = 0.0,
    attention_rate: float = 0.0,
    over: Over = "vocabulary",
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """A decoder of tokens, each of which sees those up to itself.

    Reads `tokens`, `mask`, `segments` and `positions` and returns what `models.llama`
    does. `rate` is the dropout of the embedding and of every branch, `attention_rate`
    that of the attention's weights. With `tied` and no `head` in the tree, the input
    embedding scores the vocabulary; it is one leaf.

    `dtype` is what products compute in, `rules` how they are differentiated
    (`nn.rules`); `remat` recomputes each block in the backward pass. Patches act as in
    `models.llama`; what one at `words` puts in front gets positions of the table.

    Raises ValueError for sizes that don't divide, `NoMatch` for unknown rules; `apply`
    raises for more tokens than positions, `decode` for more than are left.
    """
    check_rules(rules)
    if width % heads:
        raise ValueError(f"width {width} is no multiple of {heads} heads")
    if over not in get_args(Over):
        raise ValueError(f"over={over!r}; known: {', '.join(get_args(Over))}")
    wide = jnp.promote_types(dtype, jnp.float32)
    norm = partial(layer_norm, epsilon=epsilon, rules=rules)

    def init(key: Key) -> tuple[Params, Stats]:
        k_tokens, k_positions, k_blocks, k_head = jax.random.split(key, 4)
        table = normal(k_tokens, (vocabulary, width))
        places = normal(k_positions, (positions, width))
        params: Params = {
            "embed": {
                "tokens": {"embedding": table},
                "positions": {"embedding": places},
            }
        }
        params["blocks"] = {
            str(i): init_block(k, width, hidden)
            for i, k in enumerate(jax.random.split(k_blocks, depth))
        }
        params["norm"] = init_norm(width)
        if over == "vocabulary" and not tied:
            params["head"] = {"kernel": normal(k_head, (width, vocabulary))}
        return params, {}

    def enter(site: Params, words: Array, at: Array, key: Key | None) -> Array:
        held = len(site["positions"]["embedding"])
        if words.shape[1] > held:
            raise ValueError(f"{words.shape[1]} tokens in a row, positions for {held}")
        return dropout(words + embed(site["positions"], at), rate, key)

    def scores(params: Params, x: Array, key: Key | None) -> Array | None:
        if "head" in params:
            return dense(params["head"], x, dtype=wide, key=key, rules=rules)
        if tied and over == "vocabulary":
            return product(x, weight(params["embed"]["tokens"], "embedding").T, rules)
        return None

    style = Style(
        enter=enter,
        turn=lambda at: None,
        block=partial(block, norm=norm, activation=activation, rate=rate, rules=rules),
        norm=norm,
        score=scores,
        over=over,
        heads=heads,
        kv_heads=heads,
        rate=attention_rate,
        dtype=dtype,
        rules=rules,
        positions=positions,
    )
    return causal(style, init, width, remat)
