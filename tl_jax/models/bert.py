"""Bidirectional encoders: BERT, DistilBERT, RoBERTa and their kin.

(Devlin et al., 2019; Sanh et al., 2019; Liu et al., 2019). One function covers all:
DistilBERT has no token types, RoBERTa counts positions from its padding index.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from tl_jax.models.head import head, vocabulary_head
from tl_jax.nn import (
    block,
    dense,
    dropout,
    embed,
    expand,
    init_dense,
    init_norm,
    layer_norm,
    normal,
    own_tokens,
    patched,
    run_blocks,
    weight,
)
from tl_jax.nn.dense import keys
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats

Features = Literal["mean", "cls", "pooler"]
Head = Literal["sequence", "tokens", "vocabulary"]


def bert(
    *,
    vocabulary: int = 30522,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int = 3072,
    positions: int = 512,
    types: int = 2,
    padding_index: int | None = None,
    epsilon: float = 1e-12,
    rate: float = 0.1,
    attention_rate: float = 0.1,
    head_rate: float = 0.1,
    activation: str = "gelu",
    head_activation: str = "tanh",
    features: Features = "mean",
    over: Head = "sequence",
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """An encoder of tokens.

    Reads `tokens` [B T], `mask` [B T] (1: a token, 0: padding; all ones if it is
    absent) and, where the model has types, `types` [B T] (zeros if it is absent).

    `features`: the masked mean of the last hidden state, its first token, or that
    token through the pooler, tanh(W x + b). `over`: a `head` in the tree reads the
    features, every token, or scores the vocabulary with the tied input embedding.
    `padding_index` makes positions count the tokens that differ from it, from one
    above it, whatever the mask says (RoBERTa). Tokens that a patch at `words` or
    `sequence` puts in front are seen by all and are no part of what is returned.

    `dtype` is what products compute in, `rules` how they are differentiated
    (`nn.rules`); `remat` recomputes each block. Raises `NoMatch` for unknown rules;
    `apply` raises for more tokens than positions.
    """
    check_rules(rules)
    wide = jnp.promote_types(dtype, jnp.float32)
    body = partial(
        block,
        heads=heads,
        epsilon=epsilon,
        rate=rate,
        attention_rate=attention_rate,
        activation=activation,
        rules=rules,
    )

    def init(key: Key) -> tuple[Params, Stats]:
        k_embed, k_blocks, k_pooler = jax.random.split(key, 3)
        sizes = {"tokens": vocabulary, "positions": positions, "types": types}
        sizes = {name: size for name, size in sizes.items() if size}
        params: Params = {"embed": {"norm": init_norm(width)}}
        own = jax.random.split(k_embed, len(sizes))
        for k, (name, size) in zip(own, sizes.items(), strict=True):
            params["embed"][name] = {"embedding": normal(k, (size, width))}
        params["blocks"] = {
            str(i): init_block(k, width, hidden)
            for i, k in enumerate(jax.random.split(k_blocks, depth))
        }
        if features == "pooler":
            params["pooler"] = init_dense(k_pooler, width, width, 0.02)
        return params, {}

    def embeddings(site: Params, inputs: dict, key: Key | None) -> tuple[Array, Array]:
        k_drop, k_patch = keys(key, 2)
        k_patch, k_words = keys(k_patch, 2)
        tokens = inputs["tokens"]
        mask = inputs.get("mask", jnp.ones_like(tokens)).astype(bool)
        at = jnp.arange(tokens.shape[1])[None]
        if padding_index is not None:
            shown = tokens != padding_index
            at = jnp.cumsum(shown, axis=1) * shown - 1
        at = patched("positions", site, at)
        x = embed(site["tokens"], tokens)
        x, mask, at = patched("words", site, (x, mask, at), key=k_words)
        check_length(at.shape[1], site["positions"]["embedding"], padding_index)
        first = 0 if padding_index is None else padding_index + 1
        x = x + embed(site["positions"], at + first)
        if types:
            kinds = inputs.get("types", jnp.zeros_like(tokens))
            more = x.shape[1] - kinds.shape[1]  # words in front are of the first type
            x = x + embed(site["types"], jnp.pad(kinds, ((0, 0), (more, 0))))
        x = dropout(layer_norm(site["norm"], x, epsilon, rules), rate, k_drop)
        x, mask, _ = patched("sequence", site, (x, mask, at), key=k_patch)
        return x.astype(dtype), mask

    def summary(params: Params, tokens: Array, mask: Array) -> Array:
        if features == "mean":
            shown = mask[..., None].astype(tokens.dtype)
            return (tokens * shown).sum(1) / jnp.maximum(shown.sum(1), 1)
        first = tokens[:, 0]
        if features == "pooler":
            return jnp.tanh(dense(params["pooler"], first, rules=rules))
        return first

    def apply(params, stats, inputs, *, key=None, norm="running"):
        k_embed, k_blocks, k_head, k_root = keys(key, 4)
        params = expand(params, k_root)
        x, mask = embeddings(params["embed"], inputs, k_embed)

        def step(site: Params, x: Array, key: Key | None) -> Array:
            return body(site, x, mask, key=key)

        _, states = run_blocks(params["blocks"], x, step, key=k_blocks, remat=remat)
        states = tuple(s.astype(wide) for s in (x, *states))
        states, mask = own_tokens(inputs["tokens"].shape[1], states, mask)
        tokens = states[-1]
        found, logits = summary(params, tokens, mask), None
        if "head" in params and over == "vocabulary":
            table = weight(params["embed"]["tokens"], "embedding")
            args = dict(activation=activation, epsilon=epsilon, rules=rules)
            logits = vocabulary_head(params["head"], table, tokens, **args)
        elif "head" in params:
            read = found if over == "sequence" else tokens
            args = dict(rate=head_rate, activation=head_activation, key=k_head)
            logits = head(params["head"], read, **args, rules=rules)
        return Outputs(found, logits, tokens, states), stats

    return Model(init, apply, width)


def check_length(count: int, table: Array, padding_index: int | None) -> None:
    """Raise if tokens would lie beyond the table, where indexing repeats its end."""
    longest = len(table) - (0 if padding_index is None else padding_index + 1)
    if count > longest:
        raise ValueError(f"{count} tokens in a row, but positions for {longest}")


def init_block(key: Key, width: int, hidden: int) -> Params:
    """Attention, MLP and two norms of one block."""
    k_attention, k_up, k_down = jax.random.split(key, 3)
    names = ("query", "key", "value", "output")
    attention = {
        name: init_dense(k, width, width, 0.02)
        for name, k in zip(names, jax.random.split(k_attention, 4), strict=True)
    }
    mlp = {
        "up": init_dense(k_up, width, hidden, 0.02),
        "down": init_dense(k_down, hidden, width, 0.02),
    }
    norms = {"norm_attention": init_norm(width), "norm_mlp": init_norm(width)}
    return {"attention": attention, "mlp": mlp, **norms}
