"""Tiny GGUF files, as llama.cpp's converter writes them, from transformers' folders."""

from pathlib import Path

import gguf
import numpy as np

from tl_jax.pretrained import files
from tl_jax.pretrained.gguf_files import TABLES

WORDS = ["<e>", "<s>", *"abcĠ", "ab", "Ġab", "1", "2", "12"]
MERGES = ["a b", "Ġ ab", "1 2"]


def neighbours(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows (i, i + d/2) of each head side by side, by a loop."""
    out, size = np.empty_like(array), len(array) // heads
    for head in range(heads):
        for i in range(size // 2):
            at = head * size
            out[at + 2 * i] = array[at + i]
            out[at + 2 * i + 1] = array[at + size // 2 + i]
    return out


def theirs(module: str, names: dict) -> str:
    """GGML's module of transformers' one."""
    for ours, (name, _) in names.items():
        for i in range(4):
            if name.format(i=i) == module:
                return ours.format(i=i)
    raise KeyError(module)


def tensors_of(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """A folder's tensors under GGML's names, turned as its converter does."""
    config, made = files.read_config(folder), {}
    for name, array in files.read(files.scan(folder)):
        module, _, leaf = name.rpartition(".")
        own = theirs(module, TABLES[kind])
        if own.endswith(("attn_q", "attn_k")):
            key = "attention" if own.endswith("q") else "key_value"
            array = neighbours(array, config[f"num_{key}_heads"])
        if kind == "gpt2" and array.ndim == 2 and own.startswith("blk"):
            array = array.T
        made[f"{own}.{leaf}"] = np.ascontiguousarray(array, np.float32)
    return made


def llama_fields(config: dict) -> dict:
    """Metadata of a config."""
    rope = config.get("rope_parameters") or {}
    return {
        "llama.block_count": config["num_hidden_layers"],
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.key_length": config["head_dim"],
        "llama.attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "llama.rope.freq_base": float(rope.get("rope_theta", 10000.0)),
    }


def write(path: Path, kind: str, fields: dict, tensors: dict, words=None) -> Path:
    """One file; a tensor may be (numbers as they are stored, type)."""
    writer = gguf.GGUFWriter(path, kind)
    for key, value in fields.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        (writer.add_string if isinstance(value, str) else add)(key, value)
    if words is not None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(words)
        writer.add_token_types([3, 3] + [1] * (len(words) - 2))
        writer.add_token_merges(MERGES)
        writer.add_eos_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_chat_template("{{ messages[0].content }}")
    for name, value in tensors.items():
        array, kind = value if isinstance(value, tuple) else (value, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_file(folder: Path, path: Path, words=None, **fields) -> Path:
    """A folder of Llama's as one file."""
    made = llama_fields(files.read_config(folder)) | fields
    made = {key: value for key, value in made.items() if value is not ...}
    return write(path, "llama", made, tensors_of(folder, "llama"), words)
