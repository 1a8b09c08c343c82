"""MobileNetV2 and EfficientNet-lite: from a config to a model.

MobileNetV2's config.json is transformers'. EfficientNet-lite has none there: its config
is our own, and its weights have the names of the PyTorch conversion they come from.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

import jax.numpy as jnp

from tl_jax.models.inverted import (
    LITE,
    MOBILENET_V2,
    divisible,
    efficientnet_lite,
    inverted,
)
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.family import (
    Reader,
    Recipe,
    Unsupported,
    labels_of,
    number,
    refuse,
    whole,
)
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, Row
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.vision import (
    HEAD,
    SUPPORTED,
    checked,
    conv_layout,
    flag,
    kept_head,
    pipeline,
    sizes,
    unit,
)
from tl_jax.types import Model

MOBILE, LIGHT = "MobileNetV2", "EfficientNetLite"
PADDING = 32
"""Pixels that EfficientNet's evaluation cuts from the short edge."""
Layouts = Callable[[Collection[str], str], Layout]
"""(leaves, the option `head`) -> layout."""
SIZES = {0: 224, 1: 240, 2: 260, 3: 280, 4: 300}


def mobilenet_v2_recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    dtype: jnp.dtype = jnp.float32,
    rate: float | None = None,
    path_rate: float = 0.0,
    momentum: float = 0.003,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
) -> Recipe:
    """What config.json describes, with the given options.

    A rate of None is the config's. transformers keeps 0.003 of the old statistics a
    step, and so does this: a larger `momentum` makes them means of many batches. The
    others are as in `models.inverted`. Raises as `vit.recipe` does.
    """
    if rate is None:
        rate = number(config, ["classifier_dropout_prob"], 0.8)
    chosen = dict(rate=rate, path_rate=path_rate, momentum=momentum)
    chosen = checked(**chosen, norm_groups=norm_groups, form=form, rules=rules)
    named, kept = kept_head(config, MOBILE, head)
    settings, classes = _settings(config), labels_of(config) if kept else None
    model = inverted(**settings, **chosen, classes=classes, dtype=dtype)
    size = sizes(config, "image_size", 224)
    edge = round(min(size) * 256 / 224)
    return _recipe(
        model,
        _layout,
        chosen | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else f"{MOBILE}Model",
        bare=not kept,
        preprocess=pipeline(
            size, settings["channels"], resize=edge, crop=size, fixed=False
        ),
    )


def lite_recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    dtype: jnp.dtype = jnp.float32,
    rate: float | None = None,
    path_rate: float = 0.0,
    momentum: float = 0.99,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
) -> Recipe:
    """EfficientNet-lite of the config's `number`, as `mobilenet_v2_recipe`.

    The pipeline is that of its authors' evaluation: the middle 7/8 of the short edge
    for 224 pixels, bicubic, (x - 127) / 128.
    """
    grade = whole(config, "number", 0)
    if grade not in LITE:
        raise Unsupported(f"config.json: number is {grade}, known: {list(LITE)}")
    rate = (0.2 if grade < 3 else 0.3) if rate is None else rate
    chosen = dict(rate=rate, path_rate=path_rate, momentum=momentum)
    chosen = checked(**chosen, norm_groups=norm_groups, form=form, rules=rules)
    named, kept = kept_head(config, LIGHT, head)
    classes = labels_of(config) if kept else None
    model = efficientnet_lite(grade, **chosen, classes=classes, dtype=dtype)
    return _recipe(
        model,
        _lite_layout,
        chosen | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else f"{LIGHT}Model",
        bare=True,
        preprocess=lite_pipeline(SIZES[grade]),
    )


def lite_pipeline(size: int, channels: int = 3) -> Preprocess:
    """EfficientNet-lite's pipeline for a size: all but 32 pixels of the short edge."""
    fields = dict(resize=size + PADDING, crop=(size, size), resample="bicubic")
    made = pipeline((size, size), channels, **fields, fixed=False)
    mean, std = (127.0,) * channels, (128.0,) * channels
    return replace(made, mean=mean, std=std, scale=1.0)


def _recipe(
    model: Model, layout: Layouts, options: dict[str, Any], named: str, **fields: Any
) -> Recipe:
    leaves = shapes_of(model)
    fitting = layout(leaves, options["head"])
    return Recipe(model, fitting, leaves, options, named, **fields)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `inverted` that MobileNetV2's config.json decides."""
    supported = {"hidden_act": ("relu6",), "output_stride": (32,)}
    refuse(config, SUPPORTED | supported | {"first_layer_is_expansion": (True,)})
    many, growth = (
        _positive(config, field, default)
        for field, default in (("depth_multiplier", 1.0), ("expand_ratio", 6.0))
    )
    if growth < 2 or growth != int(growth):
        raise Unsupported(
            f"config.json: expand_ratio is {growth}, expected a whole number >= 2"
        )
    divisor = whole({"depth_divisible_by": 8} | config, "depth_divisible_by")
    least = whole({"min_depth": 8} | config, "min_depth")

    def grown(width: int) -> int:
        return divisible(round(width * many), divisor, least)

    stages = [
        s._replace(
            width=grown(s.width),
            expansion=1 if s.expansion == 1 else int(growth),
        )
        for s in MOBILENET_V2
    ]
    fine = flag(config, "finegrained_output") and many < 1
    return dict(
        stages=stages,
        stem=grown(32),
        last=1280 if fine else grown(1280),
        padding="same" if flag(config, "tf_padding") else "half",
        add_first=False,
        channels=whole({"num_channels": 3} | config, "num_channels"),
        epsilon=number(config, ["layer_norm_eps"], 1e-3),
    )


def _positive(config: Mapping[str, Any], field: str, default: float) -> float:
    value = config.get(field, default)
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not 0 < value < float("inf"):
        raise Unsupported(
            f"config.json: {field} is {value!r}, expected a number above 0"
        )
    return value


Modules = Callable[[int, str], tuple[str, str]]
"""(block, "expand", "depthwise" or "project") -> (convolution, norm)."""


def rows_of(leaves: Collection[str], modules: Modules) -> list[Row]:
    """The rows of all blocks' layers that the tree has."""
    rows, count = [], len({p.split("/")[1] for p in leaves if p.startswith("blocks/")})
    for block in range(count):
        for layer in ("expand", "depthwise", "project"):
            sites = (f"blocks/{block}/{layer}", f"blocks/{block}/norm_{layer}")
            if f"{sites[0]}/kernel" in leaves:
                rows += unit(sites, modules(block, layer))
    return rows


def ends_of(
    leaves: Collection[str], stem: tuple[str, str], neck: tuple[str, str], head: str
) -> list[Row]:
    """The rows of what is not in a block."""
    rows = unit(("embed/conv", "embed/norm"), stem)
    rows += unit(("neck/conv", "neck/norm"), neck)
    return rows + ([("head", head, "dense")] if "head/kernel" in leaves else [])


def _layout(leaves: Collection[str], head: str) -> Layout:
    """transformers' names; it counts the first block to the stem."""
    named = dict(expand="expand_1x1", depthwise="conv_3x3", project="reduce_1x1")

    def both(module: str) -> tuple[str, str]:
        return f"{module}.convolution", f"{module}.normalization"

    def modules(block: int, layer: str) -> tuple[str, str]:
        at = f"layer.{block - 1}" if block else "conv_stem"
        return both(f"{at}.{named[layer]}")

    rows = ends_of(leaves, both("conv_stem.first_conv"), both("conv_1x1"), "classifier")
    rows += rows_of(leaves, modules)
    return conv_layout(rows, "mobilenet_v2", head, "classifier")


def _lite_layout(leaves: Collection[str], head: str) -> Layout:
    """The names of Melas-Kyriazi's PyTorch EfficientNets, perhaps behind `module`."""
    named = dict(expand="_bn0", depthwise="_bn1", project="_bn2")

    def modules(block: int, layer: str) -> tuple[str, str]:
        return f"_blocks.{block}._{layer}_conv", f"_blocks.{block}.{named[layer]}"

    rows = ends_of(leaves, ("_conv_stem", "_bn0"), ("_conv_head", "_bn1"), "_fc")
    return conv_layout(rows + rows_of(leaves, modules), "module", head, "_fc")


def _architecture(classes: str) -> Callable[..., str]:
    def name(
        config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
    ) -> str:
        """The name of a tree to be saved."""
        return f"{classes}{HEAD}" if has_head else f"{classes}Model"

    return name


READERS: Mapping[str, Reader] = {
    "mobilenet_v2": Reader(mobilenet_v2_recipe, _architecture(MOBILE)),
    "efficientnet_lite": Reader(lite_recipe, _architecture(LIGHT)),
}
"""`model_type` -> reader."""
