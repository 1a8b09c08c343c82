"""ResNet: from transformers' config.json to a model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp

from tl_jax.models.resnet import REDUCTION, resnet
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.family import (
    Reader,
    Recipe,
    Unsupported,
    choice,
    labels_of,
    refuse,
    whole,
)
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, Row
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
    unit,
)

KINDS = {"basic": "basic", "bottleneck": "bottleneck"}


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    dtype: jnp.dtype = jnp.float32,
    rate: float = 0.0,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
) -> Recipe:
    """What config.json describes, with the given options.

    `rate` is of dropout before the head, which the original has none of; the others
    are as in `models.resnet`. Raises as `vit.recipe` does.
    """
    refuse(config, SUPPORTED | {"hidden_act": ("relu",)})
    named, kept = kept_head(config, "ResNet", head)
    chosen = dict(rate=rate, momentum=momentum, norm_groups=norm_groups)
    chosen = checked(**chosen, form=form, rules=rules)
    settings = _settings(config)
    classes = labels_of(config) if kept else None
    model = resnet(None, **settings, **chosen, classes=classes, dtype=dtype)
    leaves = shapes_of(model)
    return Recipe(
        model,
        layout(settings["stages"], leaves, head),
        leaves,
        chosen | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else "ResNetModel",
        bare=not kept,
        preprocess=_preprocess(settings["channels"]),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved."""
    return f"ResNet{HEAD}" if has_head else "ResNetModel"


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `resnet` that config.json decides."""
    kind = choice(config, "layer_type", KINDS, "bottleneck")
    least = REDUCTION if kind == "bottleneck" else 1
    settings: dict[str, Any] = dict(
        kind=kind,
        stages=_numbers(config, "depths", (3, 4, 6, 3), 1),
        widths=_numbers(config, "hidden_sizes", (256, 512, 1024, 2048), least),
        stem_width=whole({"embedding_size": 64} | config, "embedding_size"),
        channels=whole({"num_channels": 3} | config, "num_channels"),
        shrink_first=flag(config, "downsample_in_bottleneck", False),
        shrink_in_first_stage=flag(config, "downsample_in_first_stage", False),
    )
    if len(settings["stages"]) != len(settings["widths"]):
        raise Unsupported(
            f"config.json: depths has {len(settings['stages'])} stages, hidden_sizes "
            f"{len(settings['widths'])}"
        )
    return settings


def _numbers(
    config: Mapping[str, Any], field: str, default: Sequence[int], least: int
) -> tuple[int, ...]:
    found = config.get(field, default)
    given = isinstance(found, list | tuple) and len(found) > 0
    if given and all(type(n) is int and n >= least for n in found):
        return tuple(found)
    raise Unsupported(
        f"config.json: {field} is {found!r}, expected whole numbers >= {least}"
    )


def _preprocess(channels: int) -> Preprocess:
    return pipeline((224, 224), channels, **CROPPED | dict(resample="bicubic"))


Modules = Callable[[int, int, int | str], tuple[str, str]]
"""(stage, block of the stage, layer of the block) -> (convolution, norm)."""


def rows_of(
    stages: Sequence[int], leaves: Collection[str], modules: Modules
) -> list[Row]:
    """The rows of all blocks: those of layers 1 to 3 and "shortcut" that are there."""
    rows, number = [], 0
    for stage, count in enumerate(stages):
        for block in range(count):
            for layer in (1, 2, 3, "shortcut"):
                conv = f"conv_{layer}" if layer != "shortcut" else "shortcut"
                sites = (f"blocks/{number}/{conv}", f"blocks/{number}/norm_{layer}")
                if f"{sites[0]}/kernel" in leaves:
                    rows += unit(sites, modules(stage, block, layer))
            number += 1
    return rows


def layout(stages: Sequence[int], leaves: Collection[str], head: str) -> Layout:
    """transformers' names."""

    def modules(stage: int, block: int, layer: int | str) -> tuple[str, str]:
        inside = "shortcut" if layer == "shortcut" else f"layer.{layer - 1}"
        at = f"encoder.stages.{stage}.layers.{block}.{inside}"
        return f"{at}.convolution", f"{at}.normalization"

    first = "embedder.embedder"
    stem = (f"{first}.convolution", f"{first}.normalization")
    rows = unit(("embed/conv", "embed/norm"), stem)
    rows += rows_of(stages, leaves, modules)
    if "head/kernel" in leaves:
        rows.append(("head", "classifier.1", "dense"))
    return conv_layout(rows, "resnet", head, "classifier")


READERS: Mapping[str, Reader] = {"resnet": Reader(recipe, architecture)}
"""`model_type` -> reader."""
