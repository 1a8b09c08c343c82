"""SqueezeNet (Iandola et al., 2016): fire modules, and no norm."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from tl_jax.models.convnet import Walk, convnet
from tl_jax.models.head import head, map_head
from tl_jax.nn import conv, init_conv, init_dense, max_pool, normal
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Model, Params

Edges = Literal["valid", "same"]


class Version(NamedTuple):
    """What differs between the versions."""

    size: int
    """Of the stem's kernel."""
    stem: int
    """The stem's width."""
    pools: tuple[int, int]
    """The blocks behind a max pool."""


VERSIONS = {"1.0": Version(7, 96, (3, 7)), "1.1": Version(3, 64, (2, 4))}
SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)
"""Width of each block between its layers; each of its two outputs is four times it."""
WIDTH = 8 * SQUEEZED[-1]


def squeezenet(
    version: Literal["1.0", "1.1"] = "1.1",
    *,
    padding: Edges = "valid",
    ceil: bool = True,
    linear: bool = False,
    channels: int = 3,
    classes: int | None = None,
    rate: float = 0.5,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """x <- [relu(s * K1), relu(s * K3)] with s = relu(x * K), eight times over.

    `padding` is of the stem alone. Where a pool's windows leave a remainder at the end,
    `ceil` makes one more of it, as Caffe and torchvision do.

    A head says by its kernel how it reads: one of [1 1 D C] is the paper's, the mean
    over places of relu(x W + b) of the last map (`models.head.map_head`); one of [D C],
    as `new_head`, `set_head` and `linear` make it, is linear on the features, which are
    the mean of that map. Dropout of `rate` comes before either.

    Sites: `embed/conv`, `blocks/<i>/{squeeze,expand_1,expand_3}`. There are no norms,
    so there are no statistics. `form` and `rules` are those of `convnet`. Raises
    `NoMatch` for an unknown version or padding, ValueError for an image of which a pool
    would leave nothing.
    """
    one_of("version", version, VERSIONS)
    one_of("padding", padding, get_args(Edges))
    shape, least = VERSIONS[version], least_side(version, padding, ceil)

    def init(key: Key) -> Params:
        return init_sites(key, shape, channels, classes, linear)

    def first(walk: Walk, params: Params, x: Array) -> Array:
        if min(x.shape[1:3]) < least:
            raise ValueError(
                f"image is {list(x.shape)}, expected at least {least} pixels a side"
            )
        site = params["embed"]["conv"]
        x = conv(site, x, stride=2, padding=padding, form=walk.form, rules=walk.rules)
        return _pool(jax.nn.relu(x), ceil)

    def body(walk: Walk, name: str, site: Params, x: Array, key: Key | None) -> Array:
        x = _pool(x, ceil) if int(name) in shape.pools else x
        how = dict(form=walk.form, rules=walk.rules)
        x = jax.nn.relu(conv(site["squeeze"], x, padding=0, **how))
        near = conv(site["expand_1"], x, padding=0, **how)
        wide = conv(site["expand_3"], x, padding=1, **how)
        return jax.nn.relu(jnp.concatenate([near, wide], -1))

    def score(site: Params, x: Array, features: Array, key: Key | None) -> Array:
        if site["kernel"].ndim == 4:
            return map_head(site, x, rate=rate, form=form, key=key, rules=rules)
        own = dict(rate=rate, activation="relu", key=key)
        return head(site, features, **own, rules=rules)

    settings = dict(width=WIDTH, form=form, rules=rules, dtype=dtype, score=score)
    return convnet(init, first, body, None, **settings)


def init_sites(
    key: Key, shape: Version, channels: int, classes: int | None, linear: bool
) -> Params:
    """He's normal kernels, but 0.01 wide ones of the paper's head; biases of zero."""
    k_stem, k_blocks, k_head = jax.random.split(key, 3)
    stem = init_conv(k_stem, shape.size, channels, shape.stem, bias=True)
    params: Params = {"embed": {"conv": stem}, "blocks": {}}
    before = shape.stem
    own = jax.random.split(k_blocks, len(SQUEEZED))
    for i, (k, squeezed) in enumerate(zip(own, SQUEEZED, strict=True)):
        params["blocks"][str(i)] = init_fire(k, before, squeezed)
        before = 8 * squeezed
    if classes is not None and linear:
        params["head"] = init_dense(k_head, before, classes, 0.02)
    elif classes is not None:
        kernel = normal(k_head, (1, 1, before, classes), 0.01)
        params["head"] = {"kernel": kernel, "bias": jnp.zeros(classes)}
    return params


def init_fire(key: Key, d_in: int, squeezed: int) -> Params:
    """The sites of one block."""
    k_in, k_near, k_wide = jax.random.split(key, 3)
    return {
        "squeeze": init_conv(k_in, 1, d_in, squeezed, bias=True),
        "expand_1": init_conv(k_near, 1, squeezed, 4 * squeezed, bias=True),
        "expand_3": init_conv(k_wide, 3, squeezed, 4 * squeezed, bias=True),
    }


def least_side(version: str, padding: Edges, ceil: bool) -> int:
    """The shortest edge of an image of which the last map keeps one place."""
    side = 1
    for _ in range(3):  # one pool in the stem, two between blocks
        side = 2 * side if ceil else 2 * side + 1
    return 2 * side - 1 if padding == "same" else 2 * side - 2 + VERSIONS[version].size


def _pool(x: Array, ceil: bool) -> Array:
    """The largest of 3x3, every second place; `ceil` keeps what is over at the end."""
    ends = [(0, (3 - n) % 2 if ceil else 0) for n in x.shape[1:3]]
    return max_pool(x, 3, 2, ends)
