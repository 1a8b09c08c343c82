"""Models of texts by name: the configs of published sizes."""

from collections.abc import Callable, Mapping
from functools import partial

import jax.numpy as jnp

from tl_jax.models.llama import Over
from tl_jax.nn.rules import Rules
from tl_jax.pretrained import bert, llama, t5
from tl_jax.pretrained.family import Recipe

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


def _sized(width: int, depth: int, heads: int, hidden: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
    }


def _bert(*sizes: int) -> Callable[..., Recipe]:
    return partial(bert.recipe, BERT | _sized(*sizes))


def _llama(groups: int, length: int, *sizes: int) -> Callable[..., Recipe]:
    more = {"num_key_value_heads": groups, "max_position_embeddings": length}
    return partial(llama.recipe, LLAMA | _sized(*sizes) | more)


def _t5(
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
    """`over="vocabulary"` keeps the table that scores words."""
    names = ("d_model", "num_layers", "num_heads", "d_ff", "d_kv")
    kind = "ForConditionalGeneration" if over == "vocabulary" else "Model"
    config = (
        T5 | dict(zip(names, (*sizes, head), strict=True)) | {"vocab_size": vocabulary}
    )
    how = dict(over=over, rate=rate, remat=remat, rules=rules, dtype=dtype)
    return t5.recipe(config | {"architectures": [f"T5{kind}"]}, **how)


TEXT_SHAPES: Mapping[str, Callable[..., Recipe]] = {
    "bert-tiny": _bert(128, 2, 2, 512),
    "bert-mini": _bert(256, 4, 4, 1024),
    "bert-small": _bert(512, 4, 8, 2048),
    "bert-base": _bert(768, 12, 12, 3072),
    "bert-large": _bert(1024, 24, 16, 4096),
    "llama-1b": _llama(4, 2048, 2048, 22, 32, 5632),
    "llama-7b": _llama(32, 4096, 4096, 32, 32, 11008),
    "t5-micro": partial(_t5, (64, 2, 4, 128), 16),
    "t5-tiny": partial(_t5, (256, 4, 4, 1024)),
    "t5-mini": partial(_t5, (384, 4, 8, 1536)),
    "t5-small": partial(_t5, (512, 6, 8, 2048)),
    "t5-base": partial(_t5, (768, 12, 12, 3072)),
    "t5-large": partial(_t5, (1024, 24, 16, 4096)),
}
"""Name -> what makes it: BERT (Devlin et al., 2019; the small ones: Turc et al., 2019),
Llama (Touvron et al., 2023; 1.1B: Zhang et al., 2024) and T5 (Raffel et al., 2020; the
tiny and the mini one: Tay et al., 2021, the micro one is ours)."""
