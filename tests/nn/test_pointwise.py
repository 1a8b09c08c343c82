"""Kernels of one place at a stride: a product on CPUs, a convolution elsewhere."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import pytest

from tl_jax.nn import conv, pointwise
from tl_jax.nn.convolved import NO_PADS, plain_convolved

KEYS = jax.random.split(jax.random.key(0))
X = jax.random.normal(KEYS[0], (4, 9, 8, 6))
SITE = {"kernel": jax.random.normal(KEYS[1], (1, 1, 6, 5)) / 2}
WAYS = {
    "auto": {},
    "auto, no rules": {"rules": "auto"},
    "taps": {"form": "taps"},
}


def strided(kernel, x, **how):
    return conv({"kernel": kernel}, x, stride=2, padding=0, **how)


@pytest.mark.parametrize("there", ["cpu", "elsewhere"])
@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_the_plain_convolution(way, there, monkeypatch):
    if there == "elsewhere":
        monkeypatch.setattr(pointwise, "by_platform", lambda cpu, other: other)
    own = jax.jit(partial(strided, **WAYS[way]))

    def loss(f, kernel, x):
        return jnp.sin(f(kernel, x)).sum()

    plain = partial(strided, form="lax")
    args = SITE["kernel"], X
    chex.assert_trees_all_close(own(*args), plain(*args), atol=1e-5)
    slopes = [jax.grad(partial(loss, f), (0, 1))(*args) for f in (own, plain)]
    chex.assert_trees_all_close(*slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_no_product_reads_a_strided_slice_on_a_gpu(way):
    """XLA's compiler there ends the process where it fuses the two."""

    def loss(kernel, x):
        return jnp.sin(strided(kernel, x, **WAYS[way])).sum()

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(SITE["kernel"], X)
    texts = {
        name: traced.lower(lowering_platforms=(name,)).as_text()
        for name in ("cpu", "cuda")
    }
    assert "dot_general" in texts["cpu"]
    assert "convolution" not in texts["cpu"]
    assert "convolution" in texts["cuda"]
    assert "dot_general" not in texts["cuda"]


def test_half_precision_is_accumulated_widely_on_every_platform():
    half = X.astype(jnp.bfloat16)
    found = jax.eval_shape(
        partial(pointwise.at_stride, pointwise.pointwise, stride=(2, 2)),
        *(half, SITE["kernel"]),
    )
    assert found.dtype == jnp.float32
    same = plain_convolved(half, SITE["kernel"], (2, 2), NO_PADS)
    assert found.shape == same.shape
