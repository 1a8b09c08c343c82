"""Vision transformers: an image as a row of patches (Dosovitskiy et al., 2021)."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.models.bert import init_block
from tl_jax.models.head import head
from tl_jax.nn import (
    block,
    dense,
    dropout,
    expand,
    init_dense,
    init_norm,
    layer_norm,
    normal,
    own_tokens,
    patched,
    run_blocks,
    weight,
)
from tl_jax.nn.activations import ACTIVATIONS
from tl_jax.nn.dense import keys
from tl_jax.nn.patches import without_point
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Model, Outputs, Params, Stats

Features = Literal["cls", "mean", "pooler"]
Shape = Literal["ti", "s", "b", "l"]
SHAPES: dict[str, dict[str, int]] = {
    "ti": dict(width=192, depth=12, heads=3, hidden=768),
    "s": dict(width=384, depth=12, heads=6, hidden=1536),
    "b": dict(width=768, depth=12, heads=12, hidden=3072),
    "l": dict(width=1024, depth=24, heads=16, hidden=4096),
}
"""The sizes of the paper, and the two smaller ones of Touvron et al. (2021)."""


def vit(
    shape: Shape = "b",
    *,
    patch: int | tuple[int, int] = 16,
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    width: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    hidden: int | None = None,
    classes: int | None = None,
    epsilon: float = 1e-6,
    rate: float = 0.0,
    attention_rate: float = 0.0,
    head_rate: float = 0.0,
    activation: str = "gelu",
    features: Features = "cls",
    qkv_bias: bool = True,
    dtype: jnp.dtype = jnp.float32,
    rules: Rules = "hand",
    remat: bool = False,
) -> Model:
    """An encoder of images, pre-norm, with a class token before the patches.

    Reads `image` [B H W C], already normalised; H and W are multiples of `patch`.
    `width`, `depth`, `heads` and `hidden` are those of `shape` where they are None;
    `patch` and `size` are a number or (height, width).

    `features`: the class token of the last hidden state, the mean of its patch tokens,
    or the class token through the pooler, tanh(W x + b). Tokens that a patch at
    `sequence` puts in front are seen by all and are no part of what is returned.
    `hidden` holds the embedding and every block's output; `tokens` is the last one
    behind the final norm. `dtype` is what products compute in, `rules` how they are
    differentiated (`nn.rules`); `remat` recomputes each block in the backward pass.

    `init` makes positions for `size`. `apply` takes an image of any size whose patches
    fill the table of positions, and raises for another: `resize_positions` first.

    Raises `NoMatch` for an unknown shape, features or activation, ValueError for sizes
    that don't divide.
    """
    one_of("shape", shape, SHAPES)
    one_of("features", features, get_args(Features))
    one_of("activation", activation, ACTIVATIONS)
    check_rules(rules)
    given = dict(width=width, depth=depth, heads=heads, hidden=hidden)
    sizes = SHAPES[shape] | {n: v for n, v in given.items() if v is not None}
    width, hidden = sizes["width"], sizes["hidden"]
    if width % sizes["heads"]:
        raise ValueError(f"width {width} is no multiple of {sizes['heads']} heads")
    tall, broad = pair(patch)
    rows, columns = grid_of(pair(size), (tall, broad))
    wide = jnp.promote_types(dtype, jnp.float32)
    body = partial(
        block,
        heads=sizes["heads"],
        epsilon=epsilon,
        rate=rate,
        attention_rate=attention_rate,
        activation=activation,
        order="pre",
        rules=rules,
    )

    def init(key: Key) -> tuple[Params, Stats]:
        k_embed, k_blocks, k_pooler, k_head = jax.random.split(key, 4)
        params: Params = {
            "embed": init_embed(
                k_embed, (tall, broad, channels, width), 1 + rows * columns
            ),
            "norm": init_norm(width),
        }
        params["blocks"] = {
            str(i): init_block(k, width, hidden)
            for i, k in enumerate(jax.random.split(k_blocks, sizes["depth"]))
        }
        if not qkv_bias:
            for site in params["blocks"].values():
                for name in ("query", "key", "value"):
                    del site["attention"][name]["bias"]
        if features == "pooler":
            params["pooler"] = init_dense(k_pooler, width, width, 0.02)
        if classes is not None:
            params["head"] = init_dense(k_head, width, classes, 0.02)
        return params, {}

    def embeddings(site: Params, image: Array, key: Key | None) -> tuple[Array, Array]:
        check_image(image.shape, site, (tall, broad))
        k_patches, k_drop, k_patch = keys(key, 3)
        k_patches, k_kernel = keys(k_patches, 2)
        kernel = weight(site["patches"], key=k_kernel)
        flat = without_point("kernel", site["patches"])
        flat = flat | {"kernel": kernel.reshape(-1, kernel.shape[-1])}
        x = cut(image.astype(dtype), (tall, broad))
        x = dense(flat, x, key=k_patches, rules=rules)
        first = jnp.broadcast_to(site["class"]["embedding"], (len(x), 1, width))
        x = jnp.concatenate([first.astype(wide), x.astype(wide)], axis=1)
        x = dropout(x + site["positions"]["embedding"], rate, k_drop)
        at = jnp.arange(x.shape[1])[None]
        mask = jnp.ones(x.shape[:2], bool)
        x, mask, _ = patched("sequence", site, (x, mask, at), key=k_patch)
        return x.astype(dtype), mask

    def summary(params: Params, tokens: Array) -> Array:
        if features == "mean":
            return tokens[:, 1:].mean(1)
        first = tokens[:, 0]
        if features == "pooler":
            return jnp.tanh(dense(params["pooler"], first, rules=rules))
        return first

    def apply(params, stats, inputs, *, key=None, norm="running"):
        k_embed, k_blocks, k_head, k_root = keys(key, 4)
        params = expand(params, k_root)
        x, mask = embeddings(params["embed"], inputs["image"], k_embed)

        def step(site: Params, x: Array, key: Key | None) -> Array:
            return body(site, x, mask, key=key)

        last, states = run_blocks(params["blocks"], x, step, key=k_blocks, remat=remat)
        count = len(params["embed"]["positions"]["embedding"])
        states = tuple(s.astype(wide) for s in (x, *states))
        states, last = own_tokens(count, states, last)
        tokens = layer_norm(params["norm"], last, epsilon, rules).astype(wide)
        found, logits = summary(params, tokens), None
        if "head" in params:
            args = dict(rate=head_rate, activation="tanh", key=k_head)
            logits = head(params["head"], found, **args, rules=rules)
        return Outputs(found, logits, tokens, states), stats

    return Model(init, apply, width)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def grid_of(size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches; raises unless they fill the image."""
    if size[0] % patch[0] or size[1] % patch[1] or 0 in size:
        raise ValueError(
            f"an image of {size[0]} by {size[1]} does not divide into patches of "
            f"{patch[0]} by {patch[1]}"
        )
    return size[0] // patch[0], size[1] // patch[1]


def cut(image: Array, patch: tuple[int, int]) -> Array:
    """Patches in rows, their pixels in the kernel's order.

    image [B H W C] -> [B T p*p*C].
    """
    batch, tall, broad, channels = image.shape
    rows, columns = grid_of((tall, broad), patch)
    x = image.reshape(batch, rows, patch[0], columns, patch[1], channels)
    return x.swapaxes(2, 3).reshape(batch, rows * columns, -1)


def check_image(shape: tuple[int, ...], site: Params, patch: tuple[int, int]) -> None:
    """Raise for an image that the patches or the table of positions do not fit."""
    channels = site["patches"]["kernel"].shape[2]
    if len(shape) != 4 or shape[3] != channels:
        raise ValueError(
            f"image is {list(shape)}, expected [B H W {channels}]: batch, height, "
            "width, channels"
        )
    rows, columns = grid_of(shape[1:3], patch)
    held = len(site["positions"]["embedding"])
    if rows * columns + 1 != held:
        raise ValueError(
            f"an image of {shape[1]} by {shape[2]} has {rows} x {columns} patches and "
            f"a class token, but embed/positions/embedding holds {held} positions: "
            f"resize_positions(({rows}, {columns})) makes them fit"
        )


def init_embed(key: Key, kernel: tuple[int, ...], positions: int) -> Params:
    """Patches, class token and positions; kernel [p p C D]."""
    k_patches, k_positions = jax.random.split(key)
    fan_in, width = kernel[0] * kernel[1] * kernel[2], kernel[3]
    return {
        "patches": {
            "kernel": normal(k_patches, kernel, fan_in**-0.5),
            "bias": jnp.zeros(width),
        },
        "class": {"embedding": jnp.zeros((1, width))},
        "positions": {"embedding": normal(k_positions, (positions, width))},
    }
