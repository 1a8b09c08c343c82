"""The config that a GGUF file's metadata stands for, in transformers' words."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tl_jax.nn.rotary import Scaling, speeds
from tl_jax.pretrained.errors import Damaged, Unsupported
from tl_jax.pretrained.gguf_files import ARCHITECTURE, FACTORS, numbers, table_of
from tl_jax.pretrained.gguf_header import Front, front

TOKENS = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
EXTENDED = (
    Scaling("llama3", 8.0, 1.0, 4.0, 8192),
    Scaling("llama3", 32.0, 1.0, 4.0, 8192),
)
"""Of Llama 3.1 and 3.2: a file holds the factors that these give, not the settings."""


def config_of(file: Path) -> dict[str, Any]:
    """config.json as transformers would have it.

    Raises `Damaged` for metadata that is missing, `Unsupported` for an architecture or
    for settings that no model here has.
    """
    found = front(file)
    table_of(found)
    try:
        made = MAKERS[found.fields[ARCHITECTURE]](found, file)
    except KeyError as error:
        raise Damaged(f"{file} has no {error.args[0]!r} in its metadata") from None
    ids = {
        name: found.fields[key] for name, key in TOKENS.items() if key in found.fields
    }
    return made | ids | {"torch_dtype": "float32"}


def _llama(found: Front, file: Path) -> dict[str, Any]:
    get, tensors = found.fields, found.tensors
    if get.get("llama.expert_count", 0):
        raise Unsupported(f"{file}: llama.expert_count is above 0: no experts here")
    heads = get["llama.attention.head_count"]
    width = get["llama.embedding_length"]
    size = get.get("llama.attention.key_length", width // heads)
    base = real(get.get("llama.rope.freq_base", 10000.0))
    if get.get("llama.rope.dimension_count", size) != size:
        turned = get["llama.rope.dimension_count"]
        raise Unsupported(
            f"{file}: llama.rope.dimension_count is {turned}, but a head is {size} wide"
        )
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "num_hidden_layers": get["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": get.get("llama.attention.head_count_kv", heads),
        "head_dim": size,
        "intermediate_size": get["llama.feed_forward_length"],
        "max_position_embeddings": get["llama.context_length"],
        "rms_norm_eps": real(get["llama.attention.layer_norm_rms_epsilon"]),
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "tie_word_embeddings": "output.weight" not in tensors,
        "rope_parameters": {"rope_theta": base} | _scaled(found, file, size, base),
    }


def _scaled(found: Front, file: Path, size: int, base: float) -> dict[str, Any]:
    """What slows the rotary angles, as `rope_parameters` say it."""
    get = found.fields
    kind = get.get("llama.rope.scaling.type", "none")
    factor = get.get("llama.rope.scaling.factor", get.get("llama.rope.scale_linear", 1))
    if kind not in ("none", "linear"):
        raise Unsupported(
            f"{file}: llama.rope.scaling.type is {kind!r}, known: none, linear"
        )
    if FACTORS not in found.tensors:
        if factor in (0, 1):
            return {"rope_type": "default"}
        return {"rope_type": "linear", "factor": real(factor)}
    slower = numbers(file.read_bytes(), found.tensors[FACTORS])
    for scaling in EXTENDED:
        want = speeds(size, base) / speeds(size, base, scaling)
        if slower.shape == want.shape and np.allclose(slower, want, rtol=1e-4):
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low,
                "high_freq_factor": scaling.high,
                "original_max_position_embeddings": scaling.original,
            }
    raise Unsupported(f"{file}: {FACTORS} are none of Llama 3.1's or 3.2's factors")


def _gpt2(found: Front, file: Path) -> dict[str, Any]:
    get, tensors = found.fields, found.tensors
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "n_embd": get["gpt2.embedding_length"],
        "n_layer": get["gpt2.block_count"],
        "n_head": get["gpt2.attention.head_count"],
        "n_inner": get["gpt2.feed_forward_length"],
        "n_positions": tensors["position_embd.weight"].shape[0],
        "layer_norm_epsilon": real(get["gpt2.attention.layer_norm_epsilon"]),
        "activation_function": "gelu_new",
        "tie_word_embeddings": "output.weight" not in tensors,
    }


MAKERS: Mapping[str, Callable[[Front, Path], dict[str, Any]]] = {
    "llama": _llama,
    "gpt2": _gpt2,
}
"""Architecture -> what makes its config."""


def real(value: Any) -> float:
    """A float32 of the metadata as the decimal number that was written."""
    return float(str(np.float32(value)))
