"""Inverted residuals: MobileNetV2 and EfficientNet-lite.

(Sandler et al., 2018; Tan and Le, 2019, without squeeze-excitation and with ReLU6).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.models.convnet import Walk, convnet
from tl_jax.nn import init_conv, init_dense, init_norm
from tl_jax.nn.conv import Form, Padding
from tl_jax.nn.rules import Rules
from tl_jax.tree import no_match, one_of
from tl_jax.types import Array, Key, Model, Params


class Stage(NamedTuple):
    """Blocks of one width: the first has the stride."""

    count: int
    size: int
    """Of the depthwise kernel."""
    stride: int
    expansion: int
    width: int


MOBILENET_V2 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(3, 3, 2, 6, 32),
    Stage(4, 3, 2, 6, 64),
    Stage(3, 3, 1, 6, 96),
    Stage(3, 3, 2, 6, 160),
    Stage(1, 3, 1, 6, 320),
)
EFFICIENTNET = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
"""EfficientNet-lite's number -> (width, depth) relative to the first."""


def mobilenet_v2(
    *,
    multiplier: float = 1.0,
    divisor: int = 8,
    least: int = 8,
    tf_padding: bool = False,
    round_last: bool = False,
    rate: float = 0.2,
    epsilon: float = 1e-5,
    **settings,
) -> Model:
    """MobileNetV2 (Sandler et al., 2018), widths times `multiplier`.

    Widths are rounded to multiples of `divisor`, at least `least`. `tf_padding` pads
    as TensorFlow does; else each side gets the same, as in torchvision. The last layer
    is never narrower than 1280 unless `round_last`. More `settings`: those of
    `inverted`.
    """

    def rounded(width: float) -> int:
        return divisible(width, divisor, least)

    stages = [s._replace(width=rounded(s.width * multiplier)) for s in MOBILENET_V2]
    last = 1280 if multiplier < 1 and not round_last else rounded(1280 * multiplier)
    return inverted(
        stages,
        stem=rounded(32 * multiplier),
        last=last,
        padding="same" if tf_padding else "half",
        rate=rate,
        epsilon=epsilon,
        **settings,
    )


def efficientnet_lite(
    number: int = 0, *, rate: float | None = None, epsilon: float = 1e-3, **settings
) -> Model:
    """EfficientNet-lite 0 to 4, for images of 224, 240, 260, 280 or 300 pixels.

    Stem, last layer and the first and last stage's depth do not grow with the number.
    TensorFlow's padding. More `settings`: those of `inverted`. Raises `NoMatch` for an
    unknown number.
    """
    if number not in LITE:
        raise no_match("efficientnet_lite", str(number), map(str, LITE))
    width, depth = LITE[number]
    stages = []
    for i, stage in enumerate(EFFICIENTNET):
        inner = 0 < i < len(EFFICIENTNET) - 1
        count = math.ceil(stage.count * depth) if inner else stage.count
        grown = divisible(stage.width * width, 8, 8)
        stages.append(stage._replace(count=count, width=grown))
    rate = (0.2 if number < 3 else 0.3) if rate is None else rate
    args = dict(padding="same", rate=rate, epsilon=epsilon)
    return inverted(stages, stem=32, last=1280, **args, **settings)


def inverted(
    stages: Sequence[Stage],
    *,
    stem: int,
    last: int,
    padding: str = "same",
    add_first: bool = True,
    channels: int = 3,
    classes: int | None = None,
    rate: float = 0.0,
    path_rate: float = 0.0,
    epsilon: float = 1e-3,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """A stem of stride 2, blocks that widen, filter each channel and narrow, a neck.

    A block of stride 1 that keeps its width is added to its input, the first of all
    only with `add_first` (transformers counts it to the stem); `path_rate` drops that
    branch for whole examples, more often further up (Huang et al., 2016).
    `padding`: "same" (TensorFlow's) or "half" of the kernel on each side; `NoMatch`
    for another. Sites:
    `embed/{conv,norm}`, `blocks/<i>/{expand,norm_expand,depthwise,norm_depthwise,
    project,norm_project}`, `neck/{conv,norm}`. `form` and `rules` are those of
    `convnet`.
    """
    one_of("padding", padding, ("same", "half"))
    shapes = blocks_of(stages, stem)

    def pad(size: int) -> Padding:
        return "same" if padding == "same" else size // 2

    def init(key: Key) -> Params:
        k_stem, k_blocks, k_neck, k_head = jax.random.split(key, 4)
        own = jax.random.split(k_blocks, len(shapes))
        params: Params = {
            "embed": _unit(init_conv(k_stem, 3, channels, stem)),
            "blocks": {
                str(i): init_block(k, d_in, stage)
                for i, (k, (d_in, stage)) in enumerate(zip(own, shapes, strict=True))
            },
            "neck": _unit(init_conv(k_neck, 1, shapes[-1][1].width, last)),
        }
        if classes is not None:
            params["head"] = init_dense(k_head, last, classes, 0.02)
        return params

    def first(walk: Walk, params: Params, x: Array) -> Array:
        args = dict(stride=2, padding=pad(3))
        names = ("conv", "norm")
        return walk.unit(params["embed"], "embed", names, x, jax.nn.relu6, **args)

    def body(walk: Walk, name: str, site: Params, x: Array, key: Key | None) -> Array:
        (d_in, stage), at, y = shapes[int(name)], f"blocks/{name}", x
        if "expand" in site:
            names = ("expand", "norm_expand")
            y = walk.unit(site, at, names, y, jax.nn.relu6, padding=0)
        args = dict(stride=stage.stride, padding=pad(stage.size), groups=y.shape[-1])
        names = ("depthwise", "norm_depthwise")
        y = walk.unit(site, at, names, y, jax.nn.relu6, **args)
        y = walk.unit(site, at, ("project", "norm_project"), y, padding=0)
        alone = name == "0" and not add_first
        if alone or stage.stride > 1 or d_in != stage.width:
            return y
        return x + drop_path(y, path_rate * int(name) / len(shapes), key)

    def neck(walk: Walk, params: Params, x: Array) -> Array:
        names = ("conv", "norm")
        return walk.unit(params["neck"], "neck", names, x, jax.nn.relu6, padding=0)

    settings = dict(rate=rate, epsilon=epsilon, momentum=momentum, form=form)
    settings |= dict(norm_groups=norm_groups, rules=rules, dtype=dtype)
    return convnet(init, first, body, neck, width=last, **settings)


def blocks_of(stages: Sequence[Stage], stem: int) -> list[tuple[int, Stage]]:
    """(width in, shape) of every block."""
    shapes, before = [], stem
    for stage in stages:
        for i in range(stage.count):
            shapes.append((before, stage if i == 0 else stage._replace(stride=1)))
            before = stage.width
    return shapes


def divisible(width: float, divisor: int, least: int) -> int:
    """The nearest multiple, but never less than nine tenths of `width`."""
    near = max(least, int(width + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * width else near


def drop_path(x: Array, rate: float, key: Key | None) -> Array:
    """Zero the branch of a share `rate` of examples, the others over 1 - rate."""
    if key is None or rate == 0:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, (len(x), 1, 1, 1))
    return jnp.where(kept, x / (1 - rate), 0).astype(x.dtype)


def init_block(key: Key, d_in: int, stage: Stage) -> Params:
    """The sites of one block; no expansion where its factor is 1."""
    k_expand, k_deep, k_project = jax.random.split(key, 3)
    wide, site = d_in * stage.expansion, {}
    if stage.expansion > 1:
        site |= _named("expand", init_conv(k_expand, 1, d_in, wide))
    site |= _named("depthwise", init_conv(k_deep, stage.size, wide, wide, groups=wide))
    return site | _named("project", init_conv(k_project, 1, wide, stage.width))


def _named(name: str, kernel: Params) -> Params:
    width = kernel["kernel"].shape[-1]
    return {name: kernel, f"norm_{name}": init_norm(width)}


def _unit(kernel: Params) -> Params:
    return {"conv": kernel, "norm": init_norm(kernel["kernel"].shape[-1])}
