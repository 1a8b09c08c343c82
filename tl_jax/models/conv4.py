"""Four convolutions: the standard network of few-shot learning."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.models.convnet import Walk, convnet
from tl_jax.nn import init_conv, init_dense, init_norm, max_pool
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.tree import one_of
from tl_jax.types import Array, Key, Model, Params

Down = Literal["pool", "stride"]


def conv4(
    *,
    size: int = 84,
    channels: int = 3,
    filters: int = 64,
    depth: int = 4,
    down: Down = "pool",
    classes: int | None = None,
    rate: float = 0.0,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    norm_groups: int = 1,
    form: Form = "taps",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """3x3 convolution, batch norm, ReLU and halving, four times over.

    (Vinyals et al., 2016; Snell et al., 2017). `down="pool"` halves by a 2x2 max pool,
    "stride" by the convolution (Finn et al., 2017). Features are the last map,
    flattened, so that `size` gives their width. Sites: `blocks/<i>/{conv,norm}`.
    `form="taps"` is right under `vmap` over weights and for second derivatives; it and
    `rules` are those of `convnet`. `rate` is of dropout before the head, which the
    original has none of. Raises `NoMatch` for an unknown `down`, ValueError for an
    image that would vanish.
    """
    one_of("down", down, get_args(Down))
    side = size
    for _ in range(depth):
        side = side // 2 if down == "pool" else -(-side // 2)
    if side < 1:
        raise ValueError(f"size {size} is too small for {depth} halvings")
    width = filters * side * side

    def init(key: Key) -> Params:
        *own, last = jax.random.split(key, depth + 1)
        blocks = {
            str(i): {
                "conv": init_conv(k, 3, filters if i else channels, filters, bias=True),
                "norm": init_norm(filters),
            }
            for i, k in enumerate(own)
        }
        params: Params = {"blocks": blocks}
        if classes is not None:
            params["head"] = init_dense(last, width, classes, 0.02)
        return params

    def body(walk: Walk, name: str, site: Params, x: Array, key: Key | None) -> Array:
        names, stride = ("conv", "norm"), 2 if down == "stride" else 1
        args = dict(stride=stride, padding=1)
        x = walk.unit(site, f"blocks/{name}", names, x, jax.nn.relu, **args)
        return max_pool(x, 2, 2) if down == "pool" else x

    def flat(x: Array) -> Array:
        if x.shape[1:3] != (side, side):
            raise ValueError(
                f"the last map is {list(x.shape[1:])}, expected [{side} {side} "
                f"{filters}]: images of {size} pixels a side"
            )
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return x.reshape(len(x), -1).astype(wide)

    settings = dict(rate=rate, epsilon=epsilon, momentum=momentum, form=form)
    return convnet(
        init,
        lambda walk, params, x: x,
        body,
        None,
        width=width,
        norm_groups=norm_groups,
        dtype=dtype,
        rules=rules,
        pool=flat,
        **settings,
    )
