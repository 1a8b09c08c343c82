"""Weights in folders and files: read one tensor at a time, and written whole.

A folder holds `config.json` and `model.safetensors`, or an index and its shards. No
code of the folder is ever run, and no name in it leads out of it.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax.pretrained import gguf_config, gguf_files, numpy_pickles, torch_files
from tl_jax.pretrained.errors import Damaged
from tl_jax.tree import nearest

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
PICKLE = "pytorch_model.bin"
SHARDED = "pytorch_model.bin.index.json"
FORMATS = {s: m for m in (torch_files, numpy_pickles, gguf_files) for s in m.SUFFIXES}
"""Suffix -> what reads such a file; safetensors for all others."""
DESCRIBED = gguf_files.SUFFIXES
"""Of files that say themselves what model they are for."""
FLOATS = ("F64", "F32", "F16", "BF16")
log = logging.getLogger(__name__)


class Part(NamedTuple):
    """One of several equal parts of a tensor, along its last axis."""

    name: str
    number: int
    count: int


class Tensor(NamedTuple):
    """What a header says of one tensor."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    part: Part | None = None
    """Of which tensor of the file it is a part; None where it is one itself."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises `Damaged` with the file's name and line."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is no UTF-8 text: {error}") from None
    except json.JSONDecodeError as error:
        raise Damaged(f"{path} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Damaged(f"{path} holds a {type(value).__name__}, expected an object")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a folder, or the config of a file that has one (`DESCRIBED`).

    Raises `FileNotFoundError` where there is none.
    """
    if folder.is_file():
        return gguf_config.config_of(folder)
    path = folder / CONFIG
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
        raise FileNotFoundError(f"{folder} has no {CONFIG}; it holds {found}")
    return read_json(path)


def scan(folder: Path) -> dict[str, Tensor]:
    """`{name: Tensor}` of all weights in a folder or a file, from the headers alone.

    A folder's safetensors come before its pytorch_model.bin.

    Raises `FileNotFoundError` where there are none, `Damaged` for files that are
    truncated, contradict the index, or an index that leaves the folder, `Unsafe` for
    a pickle that is more than weights.
    """
    if folder.is_file():
        return header(folder)
    if (folder / WEIGHTS).is_file():
        return header(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        return _scan_shards(folder)
    if (folder / PICKLE).is_file():
        return header(folder / PICKLE)
    if (folder / SHARDED).exists():
        raise FileNotFoundError(
            f"{folder} has {SHARDED} but no {WEIGHTS}: shards are read as safetensors "
            "alone; save the model so first"
        )
    raise FileNotFoundError(f"{folder} has neither {WEIGHTS} nor {INDEX}")


def _scan_shards(folder: Path) -> dict[str, Tensor]:
    listed = read_json(folder / INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise Damaged(f"{folder / INDEX} has no `weight_map` from names to files")
    tensors: dict[str, Tensor] = {}
    for name in sorted({str(file) for file in listed.values()}):
        if not _plain(name):
            raise Damaged(f"{folder / INDEX}: the file {name!r} leaves the folder")
        if not (folder / name).is_file():
            raise Damaged(f"{folder / INDEX} names {name}, which is not there")
        shard = header(folder / name)
        if twice := sorted(set(shard) & set(tensors)):
            raise Damaged(f"{folder}: {twice[0]} is in two shards")
        tensors |= shard
    if absent := sorted(set(listed) - set(tensors)):
        raise Damaged(f"{folder / INDEX}: no shard holds {_short(absent)}")
    return tensors


def _plain(name: str) -> bool:
    """True for a bare file name, which cannot point outside of its folder."""
    return name not in ("", ".", "..") and not any(c in name for c in "/\\:\0")


def header(file: Path) -> dict[str, Tensor]:
    """Shapes and dtypes in one file, whose suffix says the format."""
    if file.suffix in FORMATS:
        found = FORMATS[file.suffix].header(file)
        return {n: Tensor(file, t.shape, t.dtype) for n, t in found.items()}
    with _open(file) as opened:
        names = list(opened.keys())
        parts = {name: opened.get_slice(name) for name in names}
        return {
            name: Tensor(file, tuple(part.get_shape()), part.get_dtype())
            for name, part in parts.items()
        }


def _open(file: Path):
    if file.suffix in FORMATS:
        return FORMATS[file.suffix].opened(file)
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="np")
    except (SafetensorError, OSError) as error:
        size = file.stat().st_size if file.exists() else 0
        with file.open("rb") as raw:
            pointer = raw.read(24).startswith(b"version https://git-lfs")
        hint = "a Git LFS pointer, not the file itself" if pointer else "truncated?"
        raise Damaged(
            f"{file} is damaged ({hint} {size} bytes): {error}; get it again"
        ) from None


def read(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) in order of names, each read when its turn comes."""
    with ExitStack() as stack:
        files = sorted({tensor.file for tensor in tensors.values()})
        opened = {file: stack.enter_context(_open(file)) for file in files}
        for name in sorted(tensors):
            file, part = opened[tensors[name].file], tensors[name].part
            if part is None:
                yield name, file.get_tensor(name)
            else:
                whole = file.get_tensor(part.name)
                yield name, np.split(whole, part.count, axis=-1)[part.number]


def add_to_hash(digest: "hashlib._Hash", name: str, array: np.ndarray) -> None:
    """Name, dtype, shape and bytes: the same however a model is cut into files."""
    digest.update(f"{name} {array.dtype.name} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over every tensor's name, dtype, shape and bytes, in hexadecimal."""
    digest = hashlib.sha256()
    for name, array in read(tensors):
        add_to_hash(digest, name, array)
    return digest.hexdigest()


def write(arrays: Mapping[str, np.ndarray], file: Path) -> None:
    """Write one safetensors file, marked as transformers expects."""
    from safetensors.numpy import save_file

    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    save_file(whole, file, metadata={"format": "pt"})


def _short(names: list[str], count: int = 8) -> str:
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest


def did_you_mean(name: str, known) -> str:
    """The tail of an error: the nearest known names, or all if they are few."""
    known = [str(k) for k in known]
    if len(known) <= 8:
        return f"known: {', '.join(known) or 'none'}"
    return f"nearest: {', '.join(nearest(name, known))}"
