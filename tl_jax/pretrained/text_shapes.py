"""Shapes of texts' models by name, as configs of transformers; no weights."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from tl_jax.models.llama import Over
from tl_jax.nn.rules import Rules
from tl_jax.pretrained import bert, llama, t5
from tl_jax.pretrained.family import Recipe

Maker = Callable[..., Any]
"""`(**options)` -> something with the fields of `Made`; its keywords are the options
that the name has."""


BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30522,
    "type_vocab_size": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
T5 = {
    "model_type": "t5",
    "scale_decoder_outputs": True,
    "feed_forward_proj": "relu",
    "dropout_rate": 0.0,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaModel"],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "vocab_size": 32000,
}


def sized(width: int, depth: int, heads: int, hidden: int) -> dict[str, int]:
    """Sizes by the names that most configs give them."""
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
    }


def bert_of(*sizes: int) -> Maker:
    """A BERT of width, depth, heads and hidden width."""
    return partial(bert.recipe, BERT | sized(*sizes))


def llama_of(groups: int, length: int, *sizes: int) -> Maker:
    """A Llama with so many heads of keys, its longest input, and sizes as of BERT."""
    more = {"num_key_value_heads": groups, "max_position_embeddings": length}
    return partial(llama.recipe, LLAMA | sized(*sizes) | more)


def t5_of(
    sizes: tuple[int, int, int, int],
    head: int = 64,
    *,
    vocabulary: int = 32128,
    over: Over = "sequence",
    rate: float = 0.0,
    remat: bool = False,
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Recipe:
    """A T5 of width, depth, heads and hidden width, a `head` so wide.

    `over="vocabulary"` keeps the table that scores words.
    """
    names = ("d_model", "num_layers", "num_heads", "d_ff", "d_kv")
    kind = "ForConditionalGeneration" if over == "vocabulary" else "Model"
    config = (
        T5 | dict(zip(names, (*sizes, head), strict=True)) | {"vocab_size": vocabulary}
    )
    how = dict(over=over, rate=rate, remat=remat, rules=rules, dtype=dtype)
    return t5.recipe(config | {"architectures": [f"T5{kind}"]}, **how)
