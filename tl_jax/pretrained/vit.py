"""ViT: from transformers' config.json to a model."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp

from tl_jax.models.vit import Features, grid_of, vit
from tl_jax.nn.rules import Rules
from tl_jax.pretrained.bert import ACTIVATIONS
from tl_jax.pretrained.family import (
    DROPPED,
    POOLER_UNUSED,
    Reader,
    Recipe,
    Unsupported,
    choice,
    labels_of,
    number,
    refuse,
    whole,
)
from tl_jax.pretrained.files import did_you_mean
from tl_jax.pretrained.leaves import shapes_of
from tl_jax.pretrained.names import Layout, Row, expand
from tl_jax.pretrained.preprocess import Preprocess
from tl_jax.pretrained.vision import HEAD, SUPPORTED, flag, kept_head, pipeline, sizes
from tl_jax.types import Pretrained

LAYER = "encoder.layer.{i}"
EMBED: list[Row] = [
    ("embed/class", "embeddings.cls_token", "row"),
    ("embed/positions", "embeddings.position_embeddings", "row"),
    ("embed/patches", "embeddings.patch_embeddings.projection", "conv+"),
]
QKV = (
    ("blocks/{i}/attention/query", f"{LAYER}.attention.attention.query"),
    ("blocks/{i}/attention/key", f"{LAYER}.attention.attention.key"),
    ("blocks/{i}/attention/value", f"{LAYER}.attention.attention.value"),
)
BODY: list[Row] = [
    ("blocks/{i}/attention/output", f"{LAYER}.attention.output.dense", "dense"),
    ("blocks/{i}/norm_attention", f"{LAYER}.layernorm_before", "norm"),
    ("blocks/{i}/mlp/up", f"{LAYER}.intermediate.dense", "dense"),
    ("blocks/{i}/mlp/down", f"{LAYER}.output.dense", "dense"),
    ("blocks/{i}/norm_mlp", f"{LAYER}.layernorm_after", "norm"),
    ("norm", "layernorm", "norm"),
]
OMIT = {r"embeddings\.mask_token": "a token of masked pretraining alone"}
DECODER = r"decoder\..*"


def recipe(
    config: Mapping[str, Any],
    *,
    head: Literal["keep", "drop"] = "keep",
    features: Features | None = None,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
    rate: float | None = None,
    attention_rate: float | None = None,
    head_rate: float = 0.0,
) -> Recipe:
    """What config.json describes, with the given options.

    `features` are free where the head is dropped, else "cls". Rates of None are the
    config's. Raises as `bert.recipe` does.
    """
    width = whole(config, "hidden_size")
    refuse(config, SUPPORTED | {"pooler_act": ("tanh", None)})
    refuse(config, {"pooler_output_size": (width, None)})
    named, kept = kept_head(config, "ViT", head)
    features = _features(features, named, kept)
    settings = _settings(config)
    given = dict(rate=rate, attention_rate=attention_rate)
    rates = {n: settings[n] if v is None else float(v) for n, v in given.items()}
    rates["head_rate"] = float(head_rate)
    labels = labels_of(config) if kept else None
    options = dict(features=features, rules=rules, remat=remat)
    model = vit("b", **settings | rates, **options, classes=labels, dtype=dtype)
    return Recipe(
        model,
        _layout(settings, features, kept, head),
        shapes_of(model),
        options | rates | dict(head=head, dtype=jnp.dtype(dtype).name),
        named if kept else "ViTModel",
        bare=not kept,
        preprocess=pipeline(settings["size"], channels=settings["channels"]),
    )


def architecture(
    config: Mapping[str, Any], options: Mapping[str, Any], has_head: bool
) -> str:
    """The name of a tree to be saved."""
    return f"ViT{HEAD}" if has_head else "ViTModel"


def adapt(config: dict[str, Any], pretrained: Pretrained) -> dict[str, Any]:
    """The config with the image size of the tree's table of positions.

    That of the pipeline where its patches fill the table, else a square; raises
    ValueError where neither does.
    """
    table = pretrained.params["embed"]["positions"]["embedding"]
    tall, broad = sizes(config, "patch_size", 16)
    count, side = len(table) - 1, round((len(table) - 1) ** 0.5)
    known = [sizes(config, "image_size", 224), (side * tall, side * broad)]
    if isinstance(pretrained.preprocess, Preprocess):
        known.insert(0, pretrained.preprocess.size)
    for size in known:
        if (size[0] // tall) * (size[1] // broad) == count:
            single = size[0] if size[0] == size[1] else list(size)
            return config | {"image_size": single}
    raise ValueError(
        f"embed/positions/embedding holds {count} positions beside the class token, no "
        "square: give the pipeline's size the height and width that they are for"
    )


def _features(features: Features | None, named: str, kept: bool) -> Features:
    found = "cls" if features is None else features
    if found not in get_args(Features):
        hint = did_you_mean(found, get_args(Features))
        raise ValueError(f"features={found!r}; {hint}")
    if kept and found != "cls":
        raise ValueError(
            f"features={found!r}, but the head of {named} reads 'cls'; drop it with "
            "head='drop'"
        )
    return found


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `vit` that config.json decides."""
    settings: dict[str, Any] = dict(
        width=whole(config, "hidden_size"),
        depth=whole(config, "num_hidden_layers"),
        heads=whole(config, "num_attention_heads"),
        hidden=whole(config, "intermediate_size"),
        channels=whole({"num_channels": 3} | config, "num_channels"),
        size=sizes(config, "image_size", 224),
        patch=sizes(config, "patch_size", 16),
        epsilon=number(config, ["layer_norm_eps"], 1e-12),
        rate=number(config, ["hidden_dropout_prob"], 0.0),
        attention_rate=number(config, ["attention_probs_dropout_prob"], 0.0),
        activation=choice(config, "hidden_act", ACTIVATIONS, "gelu"),
        qkv_bias=flag(config, "qkv_bias"),
    )
    if settings["width"] % settings["heads"]:
        raise Unsupported(
            f"config.json: hidden_size {settings['width']} is no multiple of "
            f"num_attention_heads {settings['heads']}"
        )
    try:
        grid_of(settings["size"], settings["patch"])
    except ValueError as error:
        raise Unsupported(f"config.json: image_size and patch_size: {error}") from None
    return settings


def _layout(
    settings: Mapping[str, Any], features: Features, kept: bool, head: str
) -> Layout:
    qkv = "dense" if settings["qkv_bias"] else "kernel"
    rows = [*EMBED, *((ours, theirs, qkv) for ours, theirs in QKV), *BODY]
    omit = dict(OMIT)
    if features == "pooler":
        rows.append(("pooler", "pooler.dense", "dense"))
    else:
        omit[r"pooler\.dense\.(weight|bias)"] = POOLER_UNUSED
    if kept:
        rows.append(("head", "classifier", "dense"))
    if head == "drop":
        omit |= {r"classifier\.(weight|bias)": DROPPED, DECODER: DROPPED}
    names = expand(rows, settings["depth"])
    return Layout(names, "vit", frozenset({"classifier", "decoder"}), omit=omit)


READERS: Mapping[str, Reader] = {
    "vit": Reader(recipe, architecture, ("features",), adapt)
}
"""`model_type` -> reader."""
