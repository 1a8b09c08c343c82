"""A network from pictures to pictures, for translations between domains."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tl_jax.nn import conv, global_pool, instance_norm, interleaved, reflected
from tl_jax.nn.conv import Form
from tl_jax.nn.patches import expand
from tl_jax.nn.rules import Rules, check_rules
from tl_jax.types import Array, Key, Model, Outputs, Params

STD = 0.02
HALF = 127.5
"""Pictures are 0..255 outside and -1..1 inside."""


def generator(
    *,
    size: int = 256,
    channels: int = 3,
    width: int = 64,
    depth: int = 9,
    halvings: int = 2,
    epsilon: float = 1e-5,
    form: Form = "auto",
    rules: Rules = "hand",
    dtype: jnp.dtype = jnp.float32,
) -> Model:
    """The residual generator of CycleGAN (Johnson et al., 2016; Zhu et al., 2017).

    A 7x7 convolution of `width` channels, `halvings` of stride 2 that double them,
    `depth` residual blocks, as many doublings of the size, a 7x7 convolution and tanh;
    edges are reflected, each picture is normalised by itself, without scale or bias.
    Reads `image` [B S S C] in 0..255, uint8 or float; `hidden[-1]` is the translation,
    alike [B S S C] in 0..255; `features` are the blocks' last map, pooled.

    Sites: `embed/conv`, `down/<i>/conv`, `blocks/<i>/{conv_1,conv_2}`, `up/<i>/conv`,
    `last/conv`. TLlib's `resnet_6` and `resnet_9` with norm="instance" are the same
    network at depth 6 and 9. Raises ValueError for a `size` that doesn't halve evenly
    or is too small for the reflections, and for pictures of another size.
    """
    check_rules(rules)
    _checked(size, halvings)
    wide = width * 2**halvings
    layer = partial(conv, form=form, rules=rules)
    unit = partial(_normed, layer=layer, epsilon=epsilon, rules=rules)

    def init(key: Key) -> tuple[Params, dict]:
        k_in, k_out, k_down, k_up, k_blocks = jax.random.split(key, 5)
        grown = [width * 2**i for i in range(halvings + 1)]
        downs = zip(jax.random.split(k_down, halvings), grown, grown[1:], strict=False)
        ups = zip(
            jax.random.split(k_up, halvings), grown[:0:-1], grown[-2::-1], strict=False
        )
        blocks = jax.random.split(k_blocks, (depth, 2))
        return {
            "embed": {"conv": kernel(k_in, 7, channels, width)},
            "down": {
                str(i): {"conv": kernel(k, 3, *d)} for i, (k, *d) in enumerate(downs)
            },
            "blocks": {
                str(i): {
                    f"conv_{j + 1}": kernel(blocks[i, j], 3, wide, wide)
                    for j in range(2)
                }
                for i in range(depth)
            },
            "up": {str(i): {"conv": kernel(k, 3, *d)} for i, (k, *d) in enumerate(ups)},
            "last": {"conv": kernel(k_out, 7, width, channels)},
        }, {}

    def apply(
        params: Params, stats: Any, inputs: Mapping[str, Any], *, key=None, norm=""
    ):
        params = expand(params)
        image = jnp.asarray(inputs["image"])
        _fits(image, size, channels)
        x = image.astype(jnp.float32) / HALF - 1
        x = x.astype(dtype)
        x = jax.nn.relu(unit(params["embed"]["conv"], reflected(x, 3)))
        for site in _in_order(params["down"]):
            x = jax.nn.relu(unit(site["conv"], x, stride=2, padding=1))
        for site in _in_order(params["blocks"]):
            y = jax.nn.relu(unit(site["conv_1"], reflected(x, 1)))
            x = x + unit(site["conv_2"], reflected(y, 1))
        middle = x
        for site in _in_order(params["up"]):
            x = jax.nn.relu(unit(site["conv"], interleaved(x), padding=1))
        x = layer(params["last"]["conv"], reflected(x, 3), padding="valid")
        made = (jnp.tanh(x.astype(jnp.float32)) + 1) * HALF
        hidden = (middle.astype(jnp.float32), made)
        return Outputs(global_pool(middle), None, None, hidden), stats

    return Model(init, apply, wide)


def kernel(key: Key, size: int, d_in: int, d_out: int) -> Params:
    """A convolution as GANs start: normal of deviation .02 (Radford et al., 2016)."""
    drawn = STD * jax.random.normal(key, (size, size, d_in, d_out))
    return {"kernel": drawn, "bias": jnp.zeros(d_out)}


def _normed(site, x: Array, layer, epsilon, rules, stride=1, padding="valid") -> Array:
    x = layer(site, x, stride=stride, padding=padding)
    return instance_norm({}, x, epsilon, rules)


def _in_order(sites: Params) -> list[Params]:
    return [sites[name] for name in sorted(sites, key=int)]


def _checked(size: int, halvings: int) -> None:
    if size % 2**halvings or size // 2**halvings < 2 or size < 4:
        raise ValueError(
            f"size {size} with {halvings} halvings: expected a multiple of "
            f"{2**halvings} of at least {max(4, 2 ** (halvings + 1))}"
        )


def _fits(image: Array, size: int, channels: int) -> None:
    if image.ndim != 4 or image.shape[1:] != (size, size, channels):
        raise ValueError(
            f"image is {list(image.shape)}, expected [B {size} {size} {channels}], "
            "as the generator was built"
        )
