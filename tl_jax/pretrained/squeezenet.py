"""SqueezeNet: from a config of our own to a model, with torchvision's names.

transformers has no SqueezeNet, so the config is ours: `version`, the stem's `padding`,
whether pools keep a remainder (`ceil_mode`), and the `classifier`: "convolution" as in
the paper, or "linear" as a new head is.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.models.squeezenet import VERSIONS, Edges, squeezenet
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.family import Reader, Recipe, choice, labels_of, refuse, whole
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Row
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.vision import (
    CROPPED,
    HEAD,
    SUPPORTED,
    checked,
    conv_layout,
    flag,
    kept_head,
    pipeline,
)
from tl_jax.types import Pretrained

CLASSES = "SqueezeNet"
CLASSIFIERS = {"convolution": False, "linear": True}
"""The config's word -> whether the head is linear on the features."""
CAFFE = Preprocess(
    size=(227, 227),
    resize=(227, 227),
    mean=(104.0, 117.0, 123.0),
    std=(1.0, 1.0, 1.0),
    scale=1.0,
    order="BGR",
    fixed=False,
)
"""What the first SqueezeNets were trained on, warped to a square."""


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    dtype: jnp.dtype = jnp.float32,
    rate: float = 0.5,
    form: Form = "auto",
    rules: Rules = "hand",
) -> Recipe:
    """What the config describes, with the given options, as in `models.squeezenet`.

    The pipeline is torchvision's. Raises as `vit.recipe` does.
    """
    refuse(config, SUPPORTED)
    named, kept = kept_head(config, CLASSES, head)
    chosen = checked(rate=rate, form=form, rules=rules)
    channels = whole({"num_channels": 3} | config, "num_channels")
    version = choice(config, "version", {v: v for v in VERSIONS}, "1.1")
    model = squeezenet(
        version,
        padding=choice(config, "padding", {p: p for p in get_args(Edges)}, "valid"),
        ceil=flag(config, "ceil_mode"),
        linear=choice(config, "classifier", CLASSIFIERS, "convolution"),
        channels=channels,
        classes=labels_of(config) if kept else None,
        dtype=dtype,
        **chosen,
    )
    leaves = shapes_of(model)
    return Recipe(
        model,
        conv_layout(torch_rows(version, leaves), "module", head, "classifier"),
        leaves,
        chosen | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else f"{CLASSES}Model",
        bare=True,
        preprocess=pipeline((224, 224), channels, **CROPPED),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved."""
    return f"{CLASSES}{HEAD}" if has_head else f"{CLASSES}Model"


def adapt(config: dict[str, Any], pretrained: Pretrained) -> dict[str, Any]:
    """The config with the kind of head that the tree has."""
    kernel = pretrained.params.get("head", {}).get("kernel")
    if kernel is None:
        return config
    return config | {"classifier": "linear" if kernel.ndim == 2 else "convolution"}


def torch_rows(version: str, leaves: Mapping[str, tuple[int, ...]]) -> list[Row]:
    """torchvision's names; it counts ReLUs and pools, too."""
    rows, place = [("embed/conv", "features.0", "conv+")], 3
    for i in range(blocks_of(leaves)):
        place += i in VERSIONS[version].pools
        rows += [
            (f"blocks/{i}/squeeze", f"features.{place}.squeeze", "conv+"),
            (f"blocks/{i}/expand_1", f"features.{place}.expand1x1", "conv+"),
            (f"blocks/{i}/expand_3", f"features.{place}.expand3x3", "conv+"),
        ]
        place += 1
    return rows + _head_row(leaves, "classifier.1", "conv+", "dense")


def numpy_rows(
    config: Mapping[str, Any], leaves: Mapping[str, tuple[int, ...]]
) -> list[Row]:
    """Caffe's names, each of a list of a kernel [h w I O] and a bias."""
    rows = [("embed/conv", "conv1", "listed")]
    for i in range(blocks_of(leaves)):
        rows += [
            (f"blocks/{i}/squeeze", f"fire{i + 2}/squeeze1x1", "listed"),
            (f"blocks/{i}/expand_1", f"fire{i + 2}/expand1x1", "listed"),
            (f"blocks/{i}/expand_3", f"fire{i + 2}/expand3x3", "listed"),
        ]
    return rows + _head_row(leaves, "conv10", "listed", "point")


def blocks_of(leaves: Collection[str]) -> int:
    """The number of blocks in a tree."""
    return len({p.split("/")[1] for p in leaves if p.startswith("blocks/")})


def _head_row(
    leaves: Mapping[str, tuple[int, ...]], module: str, wide: str, flat: str
) -> list[Row]:
    """The head's row, of the kind that its kernel's axes ask for."""
    shape = leaves.get("head/kernel", ())
    return [("head", module, wide if len(shape) == 4 else flat)] if shape else []


READERS: Mapping[str, Reader] = {
    "squeezenet": Reader(recipe, architecture, adapt=adapt)
}
"""`model_type` -> reader."""
