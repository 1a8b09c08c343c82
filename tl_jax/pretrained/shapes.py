"""Models by their shapes alone: what a plan for many devices is checked with."""

from collections.abc import Mapping
from typing import Any

import jax

from tl_jax.pretrained import files
from tl_jax.pretrained.loading import recipe_of
from tl_jax.pretrained.spec import resolve
from tl_jax.tree import no_match
from tl_jax.types import Pretrained

PREFIX = "shape:"
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
VIT = {"model_type": "vit", "architectures": ["ViTModel"], "image_size": 224}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaModel"],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
}


def _sized(width: int, depth: int, heads: int, hidden: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
    }


SHAPES: Mapping[str, dict[str, Any]] = {
    "bert-base": BERT | _sized(768, 12, 12, 3072),
    "bert-large": BERT | _sized(1024, 24, 16, 4096),
    "vit-base": VIT | _sized(768, 12, 12, 3072) | {"patch_size": 16},
    "vit-large": VIT | _sized(1024, 24, 16, 4096) | {"patch_size": 16},
    "llama-1b": LLAMA
    | _sized(2048, 22, 32, 5632)
    | {"num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048},
    "llama-7b": LLAMA
    | _sized(4096, 32, 32, 11008)
    | {"num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096},
}
"""Name -> config.json: BERT (Devlin et al., 2019), ViT (Dosovitskiy et al., 2021),
Llama (Touvron et al., 2023) and its small kin of 1.1B (Zhang et al., 2024)."""


def abstract(spec: str, **options: Any) -> Pretrained:
    """A model with shapes instead of weights; no array is made, no tensor read.

    `spec` is `shape:NAME` of `SHAPES`, or what `load` takes; options are those of
    `load`. Raises `NoMatch` for an unknown name.
    """
    if spec.startswith(PREFIX):
        name = spec.removeprefix(PREFIX)
        if name not in SHAPES:
            raise no_match("shape", name, SHAPES)
        config = SHAPES[name]
    else:
        config = files.read_config(resolve(spec))
    recipe = recipe_of(config, **options)
    params, stats = jax.eval_shape(recipe.model.init, jax.random.key(0))
    source = {"spec": spec, "hash": "", "positions": recipe.positions}
    return Pretrained(recipe.model, params, stats, recipe.preprocess, None, source)
