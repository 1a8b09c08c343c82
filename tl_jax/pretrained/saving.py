"""A tree back into the format that it came from."""

import json
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tl_jax import tree
from tl_jax.pretrained import files
from tl_jax.pretrained.family import COUNTER, POOLER_UNUSED, Recipe, labels_of
from tl_jax.pretrained.fused import joined, parted
from tl_jax.pretrained.leaves import together
from tl_jax.pretrained.loading import reader_of, recipe_of
from tl_jax.pretrained.names import (
    Fit,
    Misfit,
    fit,
    full,
    plain,
    their_shape,
    to_theirs,
)
from tl_jax.pretrained.preprocess import FILE, save_preprocess
from tl_jax.pretrained.tokenizer import FILES, save_tokenizer
from tl_jax.pretrained.vision import counters
from tl_jax.types import Params, Pretrained

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
SHORT = ("F16", "BF16")
CARRIED = (POOLER_UNUSED, COUNTER)
"""Why a tensor was left out that goes along to another architecture."""
BESIDE = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
"""What makes a folder one of sentence-transformers; stays with a body alone."""
log = logging.getLogger(__name__)


class Original(NamedTuple):
    """The file that the weights came from, if it is still there."""

    tensors: Mapping[str, files.Tensor] = {}
    fitted: Fit | None = None
    """Its correspondence to what is saved, None if that has another architecture."""


def save(
    path: str | os.PathLike,
    pretrained: Pretrained,
    *,
    labels: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write config.json, model.safetensors and the tokenizer, as transformers does.

    The `params` of `pretrained` are those of `load`, moved by training or with a new
    head; `labels` are its classes' names. Names and dtypes are those of the original
    file while it is still there and unchanged, so that what did not move is equal to
    the byte. What `load` left out goes along if the architecture is the same, an
    unused pooler always, a dropped head never. A value that its stored dtype cannot
    hold makes the whole file float32. The folder appears whole or not at all.

    Raises `FileExistsError`, `Misfit` for a tree that no architecture has, ValueError
    for patches (fold them first) and for a head that transformers computes otherwise.
    """
    path, source = Path(path).expanduser(), pretrained.source
    _check_target(path, overwrite)
    for needed in ("config", "options", "omitted"):
        if needed not in source:
            raise ValueError(
                f"source has no {needed!r}: only what `load` gave is saved"
            )
    _refuse_patches(pretrained.params)
    config, recipe = described(pretrained, labels)
    arrays, widened = _arrays(pretrained, recipe, config)
    if widened:
        config |= {f: "float32" for f in ("dtype", "torch_dtype") if f in config}
    with tempfile.TemporaryDirectory(dir=_parent(path), prefix=f".{path.name}-") as tmp:
        made = Path(tmp) / "new"
        made.mkdir()
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        (made / files.CONFIG).write_text(text, encoding="utf-8")
        files.write(joined(arrays, recipe.layout.fused), made / files.WEIGHTS)
        _copy_beside(made, pretrained, recipe)
        _swap(made, path, Path(tmp) / "old")
    return path


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


def _check_target(path: Path, overwrite: bool) -> None:
    """Refuse what would lose a file: an existing folder, or strangers in it."""
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists; overwrite=True replaces a saved model")
    if not path.is_dir():
        raise FileExistsError(f"{path} is a file, not a saved model")
    own = {files.CONFIG, files.WEIGHTS, files.INDEX, FILE, *FILES}
    own |= {name.split("/")[0] for name in BESIDE}
    strangers = [
        entry.name
        for entry in sorted(path.iterdir())
        if entry.name not in own and not entry.match("model-*.safetensors")
    ]
    if strangers:
        raise FileExistsError(
            f"{path} also holds {', '.join(strangers[:8])}, lost if it is replaced"
        )


def _refuse_patches(params: Params) -> None:
    found = [
        tree.SEPARATOR.join(filter(None, (path, "patch", name)))
        for path, site in tree.sites(params).items()
        for name in site.get("patch", {})
    ]
    if found:
        shown = ", ".join(found[:8]) + (" ..." if len(found) > 8 else "")
        raise ValueError(
            f"the tree holds patches, which no file has a name for: {shown}; "
            f"`fold` them into the weights first"
        )


def described(
    pretrained: Pretrained, labels: Sequence[str] | None
) -> tuple[dict[str, Any], Recipe]:
    """config.json of what `save` would write, and its recipe; raises as it does."""
    config, options = dict(pretrained.source["config"]), pretrained.source["options"]
    reader, head = reader_of(config), pretrained.params.get("head")
    architecture = reader.architecture(config, options, head is not None)
    config = reader.adapt(config, pretrained)
    moved = config.get("architectures") != [architecture]
    config["architectures"] = [architecture]
    words = options.get("over") == "vocabulary"
    if head is not None and "kernel" in head and not words:
        classes = head["kernel"].shape[-1]
        if labels is not None and len(labels) != classes:
            raise ValueError(f"{len(labels)} labels for a head of {classes} classes")
        if twice := [n for n, k in Counter(labels or ()).items() if k > 1]:
            raise ValueError(f"labels name {twice[0]!r} twice")
        if moved or labels is not None or labels_of(config) != classes:
            names = [f"LABEL_{i}" for i in range(classes)] if labels is None else labels
            config = {k: v for k, v in config.items() if k not in STALE}
            config["id2label"] = {str(i): name for i, name in enumerate(names)}
            config["label2id"] = {name: i for i, name in enumerate(names)}
    elif labels is not None:
        raise ValueError("labels are given, but the tree has no head over classes")
    try:
        chosen = {name: options[name] for name in reader.shaping}
        return config, recipe_of(config, **chosen)
    except ValueError as error:
        raise ValueError(f"cannot be saved as {architecture}: {error}") from None


STALE = ("num_labels", "problem_type")
"""Fields that speak of the old head."""


def _check_tree(recipe: Recipe, flat: Mapping[str, Any]) -> None:
    """The tree's leaves under the file's names must fit like a file."""
    known = {name.ours: name for name in recipe.layout.names}
    shapes = {}
    for path, leaf in flat.items():
        name = known.get(path)
        theirs = path if name is None else name.theirs
        shapes[theirs] = their_shape(np.shape(leaf), "" if name is None else name.turn)
    layout = recipe.layout._replace(omit={}, required=())
    fit(layout, recipe.leaves, shapes, f"the tree to save as {recipe.architecture}")


def _original(
    source: Mapping[str, Any], recipe: Recipe, config: Mapping[str, Any]
) -> Original:
    folder = Path(source.get("folder", ""))
    try:
        tensors = parted(files.scan(folder), recipe.layout.fused)
        unchanged = files.content_hash(tensors) == source["hash"]
    except (OSError, files.Damaged) as error:
        log.warning("the original weights are gone: %s", error)
        return Original()
    if not unchanged:
        log.warning("the weights in %s have changed since they were loaded", folder)
        return Original()
    if (
        source["config"].get("architectures", config["architectures"])
        != config["architectures"]
    ):
        return Original(tensors)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    try:
        return Original(tensors, fit(recipe.layout, recipe.leaves, shapes, str(folder)))
    except Misfit:  # a new head of another size
        return Original(tensors)


def _arrays(
    pretrained: Pretrained, recipe: Recipe, config: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], bool]:
    """All that the file is to hold, and whether short floats became float32."""
    flat = together(pretrained.params, pretrained.stats)
    _check_tree(recipe, flat)
    original = _original(pretrained.source, recipe, config)
    arrays = _leaf_arrays(flat, recipe, original)
    copies = _copied(pretrained.source, recipe, original)
    widened = _widened(arrays, original)
    if widened:
        floats = [n for n in copies if copies[n].dtype.kind != "i"]
        copies |= {n: copies[n].astype(np.float32) for n in floats}
    new = counters(recipe.layout, recipe.bare) if original.fitted is None else {}
    return new | arrays | copies, widened


def _leaf_arrays(
    flat: Mapping[str, Any], recipe: Recipe, original: Original
) -> dict[str, np.ndarray]:
    """Every leaf and every copy of one, under the file's name, in the file's dtype."""
    layout = recipe.layout
    if original.fitted is not None:
        names = dict(original.fitted.leaves)
        copies = original.fitted.tied
    else:
        names = {full(name.theirs, layout, recipe.bare): name for name in layout.names}
        copies = {second: layout.tied[second] for second in layout.required}
    stored = {
        plain(name, layout.prefix): DTYPES[tensor.dtype]
        for name, tensor in original.tensors.items()
        if tensor.dtype in DTYPES
    }
    common = Counter(stored.values()).most_common(1)
    usual = common[0][0] if common else "float32"
    wide = {path: np.asarray(leaf) for path, leaf in flat.items()}
    narrow = {
        name.ours: wide[name.ours].astype(jnp.dtype(stored.get(name.theirs, usual)))
        for name in names.values()
    }
    kept = all(np.array_equal(narrow[p].astype(wide[p].dtype), wide[p]) for p in narrow)
    held = narrow if kept else {p: a.astype(np.float32) for p, a in wide.items()}
    arrays = {}
    for actual, name in names.items():
        arrays[actual] = to_theirs(held[name.ours], name.turn)
    return arrays | {second: held[path] for second, path in copies.items()}


def _widened(arrays: Mapping[str, np.ndarray], original: Original) -> bool:
    """True where a file of short floats has become one of float32."""
    short = any(tensor.dtype in SHORT for tensor in original.tensors.values())
    return short and all(array.dtype == np.float32 for array in arrays.values())


def _copied(
    source: Mapping[str, Any], recipe: Recipe, original: Original
) -> dict[str, np.ndarray]:
    """What `load` left out and the saved architecture has or allows."""
    same, layout = original.fitted is not None, recipe.layout
    chosen = {
        name: original.tensors[name]
        for name, reason in source["omitted"].items()
        if name in original.tensors
        and (name in original.fitted.omitted if same else reason in CARRIED)
    }
    copies = {}
    for actual, array in files.read(chosen):
        moved = full(plain(actual, layout.prefix), layout, recipe.bare)
        copies[actual if same else moved] = np.array(array)
    return copies


def _copy_beside(made: Path, pretrained: Pretrained, recipe: Recipe) -> None:
    """The tokenizer's files, from the folder if it is there, else from memory; and
    the image pipeline."""
    folder = Path(pretrained.source.get("folder", ""))
    for name in (*FILES, *(BESIDE if recipe.bare else ())):
        if (folder / name).is_file():
            (made / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, made / name)
    if pretrained.tokenizer is not None and not any((made / n).exists() for n in FILES):
        save_tokenizer(made, pretrained.tokenizer)
    if recipe.preprocess is not None and pretrained.preprocess is not None:
        save_preprocess(made, folder, pretrained.preprocess)


def _swap(made: Path, path: Path, old: Path) -> None:
    """Put the new folder in place; the old one comes back if that fails."""
    if not path.exists():
        os.replace(made, path)
        return
    os.replace(path, old)
    try:
        os.replace(made, path)
    except OSError:
        os.replace(old, path)
        raise
