"""The relation module: how well two feature maps belong together."""

import jax
import jax.numpy as jnp

from tl_jax.models.convnet import Walk, convnet
from tl_jax.nn import init_conv, init_dense, init_norm, max_pool
from tl_jax.nn.conv import Form
from tl_jax.nn.rules import Rules
from tl_jax.types import Array, Key, Model, Params


def relation_module(
    size: int,
    channels: int,
    *,
    filters: int = 64,
    hidden: int = 8,
    depth: int = 2,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    form: Form = "taps",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """Two convolutions and two dense layers over two joined maps (Sung et al., 2018).

    3x3 convolution, batch norm, ReLU and a 2x2 max pool twice, a dense layer of 8 with
    ReLU and one of 1: `logits` [B 1], the score before its sigmoid. Reads `image`
    [B size size channels], two maps behind one another, so channels are twice a map's.
    A map of one pixel is not pooled. For vectors, an `mlp(2 D, (8,), classes=1)` does
    as well. Sites: `blocks/<i>/{conv,norm}`, `head/hidden`, `head`. Raises ValueError
    for a map of no pixel.
    """
    if size < 1:
        raise ValueError(f"size is {size}, expected 1 or more")
    sides = [size]
    for _ in range(depth):
        sides.append(max(sides[-1] // 2, 1))
    width = filters * sides[-1] ** 2

    def init(key: Key) -> Params:
        *own, k_hidden, k_last = jax.random.split(key, depth + 2)
        blocks = {
            str(i): {
                "conv": init_conv(k, 3, filters if i else channels, filters, bias=True),
                "norm": init_norm(filters),
            }
            for i, k in enumerate(own)
        }
        head = init_dense(k_last, hidden, 1)
        return {
            "blocks": blocks,
            "head": {"hidden": init_dense(k_hidden, width, hidden), **head},
        }

    def body(walk: Walk, name: str, site: Params, x: Array, key: Key | None) -> Array:
        x = walk.unit(site, f"blocks/{name}", ("conv", "norm"), x, jax.nn.relu)
        return max_pool(x, 2, 2) if x.shape[1] > 1 else x

    def flat(x: Array) -> Array:
        return x.reshape(len(x), -1).astype(jnp.promote_types(x.dtype, jnp.float32))

    return convnet(
        init,
        lambda walk, params, x: x,
        body,
        None,
        width=width,
        epsilon=epsilon,
        momentum=momentum,
        form=form,
        rules=rules,
        dtype=dtype,
        pool=flat,
    )
