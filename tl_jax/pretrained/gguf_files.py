"""Weights in a GGUF file, under the names and with the axes of transformers' files.

Quantised ones become float32 as they are read (the library `gguf` undoes them), so
whatever reads or saves safetensors does so with these. A GGUF file also holds its
config (`gguf_config`) and its tokenizer (`gguf_tokenizer`).
"""

import mmap
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.pretrained.errors import Damaged, Unsupported
from tl_jax.pretrained.gguf_header import Front, Placed, front, library

SUFFIXES = (".gguf",)
ARCHITECTURE = "general.architecture"
FACTORS = "rope_freqs.weight"
"""What slows rotary angles: no weight, but a part of the config (`gguf_config`)."""
Names = dict[str, tuple[str, str]]
"""GGML's module -> (transformers' module, how its tensors turn)."""
LLAMA: Names = {
    "token_embd": ("model.embed_tokens", ""),
    "output_norm": ("model.norm", ""),
    "output": ("lm_head", ""),
    "blk.{i}.attn_norm": ("model.layers.{i}.input_layernorm", ""),
    "blk.{i}.attn_q": ("model.layers.{i}.self_attn.q_proj", "head_count"),
    "blk.{i}.attn_k": ("model.layers.{i}.self_attn.k_proj", "head_count_kv"),
    "blk.{i}.attn_v": ("model.layers.{i}.self_attn.v_proj", ""),
    "blk.{i}.attn_output": ("model.layers.{i}.self_attn.o_proj", ""),
    "blk.{i}.ffn_norm": ("model.layers.{i}.post_attention_layernorm", ""),
    "blk.{i}.ffn_gate": ("model.layers.{i}.mlp.gate_proj", ""),
    "blk.{i}.ffn_up": ("model.layers.{i}.mlp.up_proj", ""),
    "blk.{i}.ffn_down": ("model.layers.{i}.mlp.down_proj", ""),
}
GPT2: Names = {
    "token_embd": ("transformer.wte", ""),
    "position_embd": ("transformer.wpe", ""),
    "output_norm": ("transformer.ln_f", ""),
    "output": ("lm_head", ""),
    "blk.{i}.attn_norm": ("transformer.h.{i}.ln_1", ""),
    "blk.{i}.attn_qkv": ("transformer.h.{i}.attn.c_attn", "transposed"),
    "blk.{i}.attn_output": ("transformer.h.{i}.attn.c_proj", "transposed"),
    "blk.{i}.ffn_norm": ("transformer.h.{i}.ln_2", ""),
    "blk.{i}.ffn_up": ("transformer.h.{i}.mlp.c_fc", "transposed"),
    "blk.{i}.ffn_down": ("transformer.h.{i}.mlp.c_proj", "transposed"),
}
TABLES: Mapping[str, Names] = {"llama": LLAMA, "gpt2": GPT2}
"""Architecture -> its names."""


class Stored(NamedTuple):
    """One tensor, under transformers' name, as it will be when it is read."""

    shape: tuple[int, ...]
    dtype: str
    placed: Placed
    turn: str


class Opened(NamedTuple):
    """An open file."""

    raw: Any
    tensors: Mapping[str, Stored]
    found: Front

    def get_tensor(self, name: str) -> np.ndarray:
        """One tensor, float32, in transformers' rows."""
        stored = self.tensors[name]
        array = numbers(self.raw, stored.placed)
        if stored.turn == "transposed":
            return array.T if array.ndim == 2 else array
        return halves(array, self._heads(stored.turn)) if stored.turn else array

    def _heads(self, field: str) -> int:
        fields = self.found.fields
        at = f"{fields[ARCHITECTURE]}.attention."
        return int(fields.get(at + field, fields[at + "head_count"]))


def numbers(raw: Any, placed: Placed) -> np.ndarray:
    """A tensor's values, float32, whatever its type."""
    gguf = library()
    kind = gguf.GGMLQuantizationType(placed.kind)
    flat = np.frombuffer(raw, np.uint8, placed.size, placed.start)
    try:
        found = gguf.dequantize(flat.reshape(*placed.shape[:-1], -1), kind)
    except NotImplementedError:
        raise Unsupported(f"tensors of type {kind.name} are not read") from None
    return np.asarray(found, np.float32).reshape(placed.shape)


def halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Rows of heads whose turned pairs are neighbours -> pairs (i, i + d/2).

    GGML's rotary angles turn rows 2i and 2i + 1 of a head, transformers' i and
    i + d/2. array [H d ...] -> [H d ...].
    """
    split = array.reshape(heads, -1, 2, *array.shape[1:])
    return split.swapaxes(1, 2).reshape(array.shape)


def table_of(found: Front) -> Names:
    """The names of a file's architecture; raises `Unsupported` for another."""
    name = found.fields.get(ARCHITECTURE)
    if name not in TABLES:
        raise Unsupported(f"{ARCHITECTURE} is {name!r}; known: {', '.join(TABLES)}")
    return TABLES[name]


def header(file: Path) -> dict[str, Stored]:
    """Every tensor by transformers' name; an unknown one keeps its own."""
    return _named(front(file))


def _named(found: Front) -> dict[str, Stored]:
    table, made = table_of(found), {}
    for name, placed in found.tensors.items():
        if name == FACTORS:
            continue
        module, _, leaf = name.rpartition(".")
        number = re.match(r"blk\.(\d+)\.", module)
        general = module if number is None else module.replace(number[1], "{i}", 1)
        theirs, turn = table.get(general, ("", ""))
        theirs = theirs.format(i=number[1] if number else "") or module
        shape = placed.shape
        if turn == "transposed":
            shape = shape[::-1]
        made[f"{theirs}.{leaf}"] = Stored(shape, "F32", placed, turn)
    return made


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """The tensors of a file, read one at a time.

    Raises `Damaged` for a file that is truncated or none of GGUF, `Unsupported` for an
    architecture or a type that is not known.
    """
    found = front(file)
    with file.open("rb") as opened:
        raw = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    if not found.tensors:
        raise Damaged(f"{file} holds no tensors")
    yield Opened(raw, _named(found), found)
