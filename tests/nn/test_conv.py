"""Convolution and pooling against loops that a reader can check."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.nn import avg_pool, conv, global_pool, init_conv, max_pool
from tl_jax.nn.conv import pads_of


def looped(x, kernel, stride, pads, groups=1):
    """One output value after the other."""
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    h, w, depth, out = kernel.shape
    tall = (x.shape[1] - h) // stride + 1
    broad = (x.shape[2] - w) // stride + 1
    y = np.zeros((len(x), tall, broad, out))
    for i in range(tall):
        for j in range(broad):
            window = x[:, i * stride : i * stride + h, j * stride : j * stride + w]
            for o in range(out):
                first = o // (out // groups) * depth
                seen = window[..., first : first + depth]
                y[:, i, j, o] = (seen * kernel[..., o]).sum((1, 2, 3))
    return y


CASES = [
    ("same", 1, 1, 4, 6),
    ("same", 2, 1, 4, 6),
    ("valid", 2, 2, 4, 6),
    (1, 2, 4, 4, 4),
    (2, 1, 4, 4, 8),
    (((0, 2), (1, 0)), 3, 1, 4, 6),
]


@pytest.mark.parametrize("form", ["auto", "lax", "taps"])
@pytest.mark.parametrize(("padding", "stride", "groups", "d_in", "d_out"), CASES)
def test_convolution_is_the_loop(padding, stride, groups, d_in, d_out, form):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 6, d_in)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, d_in // groups, d_out)).astype(np.float32)
    bias = rng.normal(size=d_out).astype(np.float32)
    site = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    args = dict(stride=stride, padding=padding, groups=groups, form=form)
    y = jax.jit(lambda site, x: conv(site, x, **args))(site, x)
    pads = pads_of((7, 6), (3, 3), stride, padding)
    want = looped(x, kernel, stride, pads, groups) + bias
    assert y.shape == want.shape
    chex.assert_trees_all_close(y, want.astype(np.float32), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_point_convolution_is_a_product(stride):
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    site = {"kernel": jax.random.normal(jax.random.key(1), (1, 1, 3, 6))}
    args = dict(stride=stride, padding=0)
    chex.assert_trees_all_close(
        conv(site, x, **args), conv(site, x, form="lax", **args), atol=1e-5
    )


def test_gradients_of_a_depthwise_convolution():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 4))

    def total(form, x, kernel):
        y = conv({"kernel": kernel}, x, stride=2, groups=4, form=form)
        return jnp.square(y).sum()

    got, want = (
        jax.jit(jax.grad(lambda *a, f=form: total(f, *a), (0, 1)))(x, kernel)
        for form in ("auto", "lax")
    )
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-4)


def test_pools_are_loops():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    for pool, reduce in ((max_pool, np.nanmax), (avg_pool, np.nanmean)):
        got = np.asarray(pool(jnp.asarray(x), 3, 2, 1))
        for i in range(3):
            for j in range(3):
                window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                want = reduce(window, axis=(1, 2))
                np.testing.assert_allclose(got[:, i, j], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(global_pool(x), x.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_says_so():
    x = jnp.zeros((1, 4, 4, 3))
    with pytest.raises(ValueError, match="3 channels"):
        conv({"kernel": jnp.zeros((3, 3, 4, 2))}, x)
    with pytest.raises(ValueError, match="smaller than the window"):
        conv({"kernel": jnp.zeros((7, 7, 3, 2))}, x, padding="valid")


def test_initial_kernels_have_the_spread_of_he():
    kernel = init_conv(jax.random.key(0), 3, 64, 128)["kernel"]
    assert kernel.shape == (3, 3, 64, 128)
    assert abs(float(kernel.std()) / (2 / (9 * 128)) ** 0.5 - 1) < 0.02
    assert init_conv(jax.random.key(0), 3, 8, 8, groups=8)["kernel"].shape[2] == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("form", ["auto", "lax", "taps"])
@pytest.mark.parametrize("groups", [1, 4])
def test_every_form_has_gradients_in_every_dtype(dtype, form, groups):
    if form == "taps" and groups > 1:
        form = "auto"
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4 // groups, 4))

    def total(x, kernel):
        y = conv({"kernel": kernel}, x, stride=2, groups=groups, form=form)
        return jnp.square(max_pool(y, 2, 1)).sum()

    want = jax.grad(total, (0, 1))(x, kernel)
    got = jax.jit(jax.grad(total, (0, 1)))(x.astype(dtype), kernel)
    assert [leaf.dtype for leaf in got] == [dtype, jnp.float32]
    for a, b in zip(got, want, strict=True):
        assert np.abs(a - b).max() <= 0.05 * np.abs(b).max()
