"""Pretrained weights into a tree, with nothing left unsaid."""

import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from tl_jax.pretrained import (
    bert,
    files,
    gpt2,
    inverted,
    llama,
    resnet,
    squeezenet,
    state_dicts,
    t5,
    vit,
)
from tl_jax.pretrained.family import Reader, Recipe, Unsupported
from tl_jax.pretrained.fused import parted
from tl_jax.pretrained.gguf_tokenizer import tokenizer_of
from tl_jax.pretrained.leaves import apart
from tl_jax.pretrained.names import Fit, Misfit, fit, to_ours
from tl_jax.pretrained.preprocess import load_preprocess
from tl_jax.pretrained.spec import ASSETS, resolve
from tl_jax.pretrained.tokenizer import load_tokenizer
from tl_jax.types import Pretrained

FAMILIES = (bert, gpt2, llama, t5, vit, resnet, inverted, squeezenet)
READERS: Mapping[str, Reader] = {
    kind: reader for family in FAMILIES for kind, reader in family.READERS.items()
}
"""The config's `model_type` -> what reads it."""
log = logging.getLogger(__name__)


def load(
    spec: str | os.PathLike,
    *,
    head: Literal["keep", "drop"] = "keep",
    dtype: jnp.dtype = jnp.float32,
    remat: bool = False,
    revision: str | None = None,
    architecture: str | None = None,
    **options: Any,
) -> Pretrained:
    """A pretrained model with its weights, tokenizer or image pipeline, and source.

    `spec` is a local folder (config.json, model.safetensors or an index of shards),
    the name of an asset ("minilm", "smollm2", "efficientnet-lite0", "squeezenet"), a
    hub's id, at a `revision`, or a GGUF file; or a file of weights alone (.pth), whose
    `architecture` is "resnet18" to "resnet152", "mobilenet_v2", "squeezenet1_0" or
    "squeezenet1_1" with torchvision's names, or "efficientnet_lite0".

    `head="drop"` leaves the head out. `dtype` is what products compute in; parameters
    are float32. `remat` recomputes a transformer's blocks in the backward pass. All
    families take `rules` of derivatives (`nn.rules`). BERT and its kin also take
    `features`, `over`, `rate`, `attention_rate` and `head_rate`, as in `models.bert`;
    ViT these but `over`; Llama `over` and `attention_rate`, GPT-2 `rate`, too; T5
    `over`, `tied` and `rate`; ResNet, MobileNetV2 and EfficientNet-lite `rate`,
    `momentum`, `norm_groups`, `form`, the last two `path_rate`; SqueezeNet `rate` and
    `form`.

    Every tensor of the file and every leaf of the tree is accounted for. `source`
    holds the `spec`, a content `hash`, what was `omitted` and why, and what `save`
    needs: the `folder` or file, the `config` and the `options`. EfficientNet-lite and
    SqueezeNet are saved with a config of our own, what else torchvision named with
    transformers' names.

    Raises `NotFound`, `Damaged`, `Unsupported` or `Misfit`; ValueErrors for options.
    """
    folder, plain = _located(spec, revision, architecture)
    options |= dict(head=head, dtype=dtype) | ({"remat": True} if remat else {})
    named = {} if architecture is None else {"architecture": architecture}
    config, recipe, tensors = _described(folder, plain, options)
    where = f"{spec} ({recipe.architecture})"
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    fitted = fit(recipe.layout, recipe.leaves, shapes, where)
    flat, digest = _fill(tensors, fitted, where)
    if fitted.omitted:
        log.info("%s: left out %s", where, fitted.omitted)
    source = {
        "spec": str(spec),
        "hash": digest,
        "omitted": fitted.omitted,
        "folder": str(folder.resolve()),
        "config": config,
        "options": recipe.options | named,
    }
    preprocess = tokenizer = None
    if recipe.positions is not None:
        vocabulary = recipe.leaves["embed/tokens/embedding"][0]
        own = tokenizer_of if folder.is_file() else load_tokenizer
        tokenizer = own(folder, recipe.positions, vocabulary)
    if recipe.preprocess is not None:
        preprocess = load_preprocess(folder, recipe.preprocess)
    params, stats = apart(flat)
    return Pretrained(recipe.model, params, stats, preprocess, tokenizer, source)


def recipe_of(config: Mapping[str, Any], **options: Any) -> Recipe:
    """The recipe of a config; raises for an unknown `model_type` or option."""
    reader = reader_of(config).recipe
    check_options(config["model_type"], options, keywords(reader))
    return reader(config, **options)


def keywords(make: Callable[..., Any]) -> tuple[str, ...]:
    """The options of what makes a model: its arguments that are given by name."""
    known = inspect.signature(make).parameters.values()
    return tuple(p.name for p in known if p.kind is p.KEYWORD_ONLY)


def check_options(what: str, options: Iterable[str], known: Sequence[str]) -> None:
    """Raise ValueError for an option that is not known, with the nearest."""
    for name in options:
        if name not in known:
            hint = files.did_you_mean(name, known)
            raise ValueError(f"{what} has no option {name!r}; {hint}")


def outline(
    spec: str | os.PathLike,
    *,
    revision: str | None = None,
    architecture: str | None = None,
    **options: Any,
) -> Recipe:
    """The recipe of what `load` would load, of its config alone; raises as it does."""
    place, plain = _located(spec, revision, architecture)
    if plain is None:
        return recipe_of(files.read_config(place), **options)
    config = state_dicts.config_of(plain, {})
    recipe = recipe_of(config, **dict(plain.options) | options)
    return state_dicts.renamed(plain, config, recipe)


def options_of(
    spec: str | os.PathLike,
    *,
    revision: str | None = None,
    architecture: str | None = None,
) -> tuple[str, tuple[str, ...]]:
    """(the `model_type`, its options) of what `load` would load; raises as it does."""
    place, plain = _located(spec, revision, architecture)
    config = files.read_config(place) if plain is None else plain.config
    reader = reader_of(config).recipe
    return config["model_type"], keywords(reader)


def reader_of(config: Mapping[str, Any]) -> Reader:
    """What reads a config; raises `Unsupported` for an unknown `model_type`."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in READERS:
        hint = files.did_you_mean(str(kind), READERS)
        raise Unsupported(f"config.json: model_type is {kind!r}; {hint}")
    return READERS[kind]


def _located(
    spec: str | os.PathLike, revision: str | None, architecture: str | None
) -> tuple[Path, state_dicts.Plain | None]:
    """A folder, or a file of weights and what it is."""
    place = resolve(spec, revision)
    asset = ASSETS.get(spec) if isinstance(spec, str) else None
    known = place.is_dir() or place.suffix in files.DESCRIBED
    if architecture is not None and (asset or known):
        raise superfluous(spec, architecture)
    if place.is_dir() or place.suffix in files.DESCRIBED:
        return place, None
    architecture = asset.architecture if asset else architecture
    return place, state_dicts.chosen(architecture, str(place))


def superfluous(spec: str | os.PathLike, architecture: str) -> ValueError:
    """The error for an architecture that is known already; the caller raises it."""
    return ValueError(
        f"architecture={architecture!r} is for a file of weights alone; {spec} is "
        "known without it"
    )


def _described(
    place: Path, plain: state_dicts.Plain | None, options: dict[str, Any]
) -> tuple[dict[str, Any], Recipe, dict[str, files.Tensor]]:
    """Config, recipe and headers of a folder or a file of weights."""
    if plain is None:
        config = files.read_config(place)
        if options.get("features") is None and (pooling := _sentence_pooling(place)):
            options |= {"features": pooling}
        recipe = recipe_of(config, **options)
        return config, recipe, parted(files.scan(place), recipe.layout.fused)
    tensors = files.scan(place)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    config = state_dicts.config_of(plain, shapes)
    recipe = recipe_of(config, **dict(plain.options) | options)
    return config, state_dicts.renamed(plain, config, recipe), tensors


def _fill(
    tensors: Mapping[str, files.Tensor], fitted: Fit, where: str
) -> tuple[dict[str, Any], str]:
    """Read every tensor once: leaves as float32, copies compared, all hashed."""
    flat: dict[str, Any] = {}
    copies: dict[str, np.ndarray] = {}
    digest = hashlib.sha256()
    for name, array in files.read(tensors):
        files.add_to_hash(digest, name, array)
        if name in fitted.tied:
            copies[name] = array
        if name not in fitted.leaves:
            continue
        if tensors[name].dtype not in files.FLOATS:
            raise Misfit(f"{where}: {name} is {tensors[name].dtype}, expected a float")
        leaf = fitted.leaves[name]
        flat[leaf.ours] = jnp.array(to_ours(array, leaf.turn), jnp.float32)
    for name, array in copies.items():
        path = fitted.tied[name]
        if not np.array_equal(np.asarray(array, np.float32), flat[path]):
            raise Misfit(
                f"{where}: {name} differs from {path}, but the model holds them as "
                f"one; an untied output layer is not supported: load with head='drop'"
            )
    return flat, digest.hexdigest()


def _sentence_pooling(folder: Path) -> str | None:
    """What a sentence-transformers folder says features are, None elsewhere."""
    path = folder / "1_Pooling" / files.CONFIG
    if not path.is_file():
        return None
    config = files.read_json(path)
    chosen = [name for name, on in config.items() if on is True and "mode" in name]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) == 1 and chosen[0] in known:
        return known[chosen[0]]
    raise Unsupported(
        f"{path}: {' and '.join(chosen) or 'no pooling mode'} is set; known is one "
        f"of {', '.join(known)}; or delete the file and choose features"
    )
