"""A discriminator of patches: is this piece of a picture real?"""

from functools import partial

import jax
import jax.numpy as jnp

from tl_jax.models.generator import HALF, kernel
from tl_jax.nn import conv, global_pool, instance_norm
from tl_jax.nn.conv import Form
from tl_jax.nn.patches import expand
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Key, Model, Outputs, Params

SLOPE = 0.2
LARGEST = 8
"""Channels grow to at most so many times the first."""


def patch_critic(
    *,
    size: int = 256,
    channels: int = 3,
    width: int = 64,
    depth: int = 3,
    epsilon: float = 1e-5,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """PatchGAN (Isola et al., 2017): 4x4 convolutions, `depth` of them of stride 2.

    Reads `image` [B S S C] in 0..255; `logits` [B P], one for each of P overlapping
    patches (70x70 pixels at depth 3, 34x34 at depth 2). All but the first and last
    layer are normalised picture by picture, without scale or bias; leaky ReLU of .2.
    Sites: `blocks/<i>/conv`, `last/conv`. TLlib's `patch` with norm="instance" is the
    same network. Raises ValueError for a size of which nothing would be left to
    normalise.
    """
    check_rules(rules)
    _checked(size, depth)
    widths = [width * min(2**i, LARGEST) for i in range(depth + 1)]
    strides = [2] * depth + [1]
    layer = partial(conv, padding=1, form=form, rules=rules)

    def init(key: Key) -> tuple[Params, dict]:
        *own, last = jax.random.split(key, depth + 2)
        shapes = zip(own, [channels, *widths], widths, strict=False)
        blocks = {
            str(i): {"conv": kernel(k, 4, d_in, d_out)}
            for i, (k, d_in, d_out) in enumerate(shapes)
        }
        return {
            "blocks": blocks,
            "last": {"conv": kernel(last, 4, widths[-1], 1)},
        }, {}

    def apply(params, stats, inputs, *, key=None, norm=""):
        params = expand(params)
        x = jnp.asarray(inputs["image"]).astype(jnp.float32) / HALF - 1
        if x.shape[1:] != (size, size, channels):
            raise ValueError(
                f"image is {list(x.shape)}, expected [B {size} {size} {channels}], "
                "as the critic was built"
            )
        x = x.astype(dtype)
        for name in sorted(params["blocks"], key=int):
            x = layer(params["blocks"][name]["conv"], x, stride=strides[int(name)])
            x = x if name == "0" else instance_norm({}, x, epsilon, rules)
            x = jax.nn.leaky_relu(x, SLOPE)
        logits = layer(params["last"]["conv"], x).astype(jnp.float32)
        x = x.astype(jnp.float32)
        return Outputs(global_pool(x), logits.reshape(len(x), -1), None, (x,)), stats

    return Model(init, apply, widths[-1])


def _checked(size: int, depth: int) -> None:
    side = size
    for stride in [2] * depth + [1, 1]:
        side = (side - 2) // stride + 1
    if depth < 1 or side < 1:
        raise ValueError(
            f"size {size} with depth {depth}: nothing is left, expected a depth of at "
            "least 1 and a picture of more than two pixels after all halvings"
        )
