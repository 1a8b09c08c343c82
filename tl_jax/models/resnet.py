"""Residual networks (He et al., 2016), in the form that torchvision and HF train."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.models.convnet import Walk, convnet
from tl_jax.nn import init_conv, init_dense, init_norm, max_pool
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.tree import no_match, one_of
from tl_jax.types import Array, Key, Model, Params

DEPTHS = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
REDUCTION = 4
Kind = Literal["basic", "bottleneck"]
Stem = Literal["imagenet", "cifar"]


def resnet(
    depth: int | None = 18,
    *,
    kind: Kind | None = None,
    stages: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    stem: Stem = "imagenet",
    stem_width: int = 64,
    channels: int = 3,
    classes: int | None = None,
    shrink_first: bool = False,
    shrink_in_first_stage: bool = False,
    rate: float = 0.0,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """x <- relu(f(x) + shortcut(x)), blocks numbered through all stages.

    `depth` stands for `kind` and `stages` (blocks in each); `widths` are the stages'
    outputs. The "imagenet" stem is a 7x7 convolution of stride 2 and a max pool, that
    for "cifar" a 3x3 convolution alone. A bottleneck shrinks the image in its 3x3
    convolution (v1.5), or with `shrink_first` in its first, as in the paper.

    Sites: `embed/{conv,norm}`, `blocks/<i>/{conv_1,norm_1,conv_2,norm_2}` (and
    `conv_3`, `norm_3`), `blocks/<i>/{shortcut,norm_shortcut}` where the shape changes.
    Raises `NoMatch` for an unknown depth, kind or stem. `form` and `rules` are those of
    `convnet`.
    """
    if depth not in DEPTHS and (kind is None or stages is None):
        raise no_match("depth", str(depth), map(str, DEPTHS))
    usual = DEPTHS.get(depth, (kind, stages))
    kind, stages = kind or usual[0], tuple(stages or usual[1])
    one_of("kind", kind, get_args(Kind))
    one_of("stem", stem, get_args(Stem))
    if widths is None:
        grown = REDUCTION if kind == "bottleneck" else 1
        widths = [64 * grown * 2**i for i in range(len(stages))]
    shapes = plan(stages, widths, stem_width, shrink_in_first_stage)
    strides = [stride for _, _, stride in shapes]

    def init(key: Key) -> Params:
        k_stem, k_blocks, k_head = jax.random.split(key, 3)
        size = 7 if stem == "imagenet" else 3
        params: Params = {
            "embed": {
                "conv": init_conv(k_stem, size, channels, stem_width),
                "norm": init_norm(stem_width),
            },
            "blocks": {
                str(i): init_block(k, kind, *shapes[i])
                for i, k in enumerate(jax.random.split(k_blocks, len(shapes)))
            },
        }
        if classes is not None:
            params["head"] = init_dense(k_head, widths[-1], classes, 0.02)
        return params

    def first(walk: Walk, params: Params, x: Array) -> Array:
        large = dict(stride=2, padding=3) if stem == "imagenet" else dict(padding=1)
        names = ("conv", "norm")
        x = walk.unit(params["embed"], "embed", names, x, jax.nn.relu, **large)
        return max_pool(x, 3, 2, 1) if stem == "imagenet" else x

    def body(walk: Walk, name: str, site: Params, x: Array, key: Key | None) -> Array:
        at, stride = f"blocks/{name}", strides[int(name)]
        y = _inside(walk, at, site, x, kind, stride, shrink_first)
        if "shortcut" in site:
            names = ("shortcut", "norm_shortcut")
            x = walk.unit(site, at, names, x, stride=stride, padding=0)
        return jax.nn.relu(x + y)

    settings = dict(rate=rate, epsilon=epsilon, momentum=momentum, form=form)
    settings |= dict(norm_groups=norm_groups, rules=rules, dtype=dtype)
    return convnet(init, first, body, None, width=widths[-1], **settings)


def _inside(walk, at, site, x, kind, stride, shrink_first) -> Array:
    """The branch of a block: two 3x3 layers, or 1x1, 3x3, 1x1."""
    relu = jax.nn.relu
    one, two, three = ((f"conv_{i}", f"norm_{i}") for i in (1, 2, 3))
    if kind == "basic":
        x = walk.unit(site, at, one, x, relu, stride=stride, padding=1)
        return walk.unit(site, at, two, x, padding=1)
    outer, inner = (stride, 1) if shrink_first else (1, stride)
    x = walk.unit(site, at, one, x, relu, stride=outer, padding=0)
    x = walk.unit(site, at, two, x, relu, stride=inner, padding=1)
    return walk.unit(site, at, three, x, padding=0)


def plan(
    stages: Sequence[int], widths: Sequence[int], stem_width: int, first: bool
) -> list[tuple[int, int, int]]:
    """(width in, width out, stride) of every block; `first`: stage 0 shrinks, too."""
    shapes, before = [], stem_width
    for stage, (count, width) in enumerate(zip(stages, widths, strict=True)):
        for i in range(count):
            stride = 2 if i == 0 and (stage > 0 or first) else 1
            shapes.append((before, width, stride))
            before = width
    return shapes


def init_block(key: Key, kind: str, d_in: int, d_out: int, stride: int) -> Params:
    """The sites of one block."""
    *own, last = jax.random.split(key, 4)
    if kind == "basic":
        layers = [(3, d_in, d_out), (3, d_out, d_out)]
    else:
        inner = d_out // REDUCTION
        layers = [(1, d_in, inner), (3, inner, inner), (1, inner, d_out)]
    site: Params = {}
    for i, (k, layer) in enumerate(zip(own, layers, strict=False), 1):
        site[f"conv_{i}"] = init_conv(k, *layer)
        site[f"norm_{i}"] = init_norm(layer[-1])
    if stride != 1 or d_in != d_out:
        site["shortcut"] = init_conv(last, 1, d_in, d_out)
        site["norm_shortcut"] = init_norm(d_out)
    return site
