"""Convolution and pooling against loops that a reader can check."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tl_jax.nn import avg_pool, conv, global_pool, init_conv, max_pool
from tl_jax.nn.conv import pads_of
from tl_jax.tree import NoMatch


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


@pytest.mark.parametrize("how", [{}, {"form": "taps"}, {"rules": "auto"}])
def test_gradients_of_a_depthwise_convolution(how):
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 1, 4))

    def total(how, x, kernel):
        y = conv({"kernel": kernel}, x, stride=2, groups=4, **how)
        return jnp.square(y).sum()

    got, want = (
        jax.jit(jax.grad(partial(total, how), (0, 1)))(x, kernel)
        for how in (how, {"form": "lax"})
    )
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-4)


SHAPES = {
    "wide": (3, 4, 1),
    "deep": (3, 1, 4),
    "grouped": (3, 2, 2),
    "point": (1, 4, 1),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", ["auto", "lax", "taps"])
def test_who_knows_forward_mode(name, form):
    size, depth, groups = SHAPES[name]
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 4))
    kernel = jax.random.normal(jax.random.key(1), (size, size, depth, 4))
    way = (jnp.cos(x), jnp.sin(kernel))

    def moved(dtype, form, rules):
        def y(x, kernel):
            args = dict(stride=2, groups=groups, form=form, rules=rules)
            return conv({"kernel": kernel}, x, **args)

        low = (x.astype(dtype), kernel), (way[0].astype(dtype), way[1])
        return jax.jvp(y, *low)

    want = moved(jnp.float32, "lax", "auto")
    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.02)):
        got = moved(dtype, form, "auto")
        for a, b in zip(got, want, strict=True):
            assert a.dtype == dtype
            assert np.abs(a - b).max() <= tolerance * np.abs(b).max()
    if form == "auto" and name != "grouped" and jax.default_backend() == "cpu":
        with pytest.raises(TypeError, match="forward-mode"):
            moved(jnp.float32, form, "hand")
    else:
        got = moved(jnp.float32, form, "hand")
        chex.assert_trees_all_close(got, want, rtol=1e-5, atol=2e-5)


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


@pytest.mark.parametrize("image", [(6, 4), (7, 5)])
def test_tiles_are_windows_in_both_orders(image):
    x = jax.random.normal(jax.random.key(0), (3, *image, 2))
    way = jnp.cos(jnp.arange(x.size).reshape(x.shape))
    start = dict(init_value=-jnp.inf, computation=lax.max, padding="VALID")
    shape = dict(window_dimensions=(1, 2, 2, 1), window_strides=(1, 2, 2, 1))
    windows = partial(lax.reduce_window, **start, **shape)

    def slope(pool, x):
        return jax.grad(lambda x: jnp.sin(pool(x)).sum())(x)

    def every(pool):
        once = partial(slope, pool)
        back = jax.grad(lambda x: (once(x) * way).sum())(x)
        return pool(x), once(x), jax.jvp(once, (x,), (way,))[1], back

    tiles = partial(max_pool, size=2, stride=2)
    chex.assert_trees_all_close(every(tiles), every(windows), atol=1e-6)
    even = jnp.round(x)  # of equal values the first has the gradient
    chex.assert_trees_all_close(slope(tiles, even), slope(windows, even), atol=1e-6)
    _, forward = jax.jvp(partial(slope, tiles), (even,), (way,))
    first = slope(lambda x: tiles(x).sum(), even) != 0  # the curve there is -sin(max)
    bend = jnp.where(first, -jnp.sin(even) * way, 0)
    chex.assert_trees_all_close(forward, bend, atol=1e-6)
    many = jnp.stack([x, -x], 2)
    got = jax.vmap(partial(slope, tiles), 2)(many)
    chex.assert_trees_all_close(got[1], slope(windows, -x), atol=1e-6)


def test_what_cannot_be_says_so():
    x = jnp.zeros((1, 4, 4, 3))
    with pytest.raises(ValueError, match="3 channels"):
        conv({"kernel": jnp.zeros((3, 3, 4, 2))}, x)
    with pytest.raises(ValueError, match="smaller than the window"):
        conv({"kernel": jnp.zeros((7, 7, 3, 2))}, x, padding="valid")


def test_unknown_forms_and_paddings_name_the_nearest():
    site, x = {"kernel": jnp.zeros((3, 3, 3, 2))}, jnp.zeros((1, 4, 4, 3))
    with pytest.raises(NoMatch, match="form 'tap' matches nothing; nearest: taps"):
        conv(site, x, form="tap")
    known = "'same', 'valid', a number, or pairs .* nearest: "
    for name, nearest in (("SAME", "same"), ("Valid", "valid"), ("smae", "same")):
        with pytest.raises(NoMatch, match=f"padding is {name!r}, expected {known}"):
            conv(site, x, padding=name)
        with pytest.raises(NoMatch, match=f"nearest: {nearest}$"):
            max_pool(x, 2, 2, name)
    for wrong in ((1, 1), 1.5, ((1, 1),), None):
        with pytest.raises(NoMatch, match="expected 'same', 'valid', a number, or"):
            conv(site, x, padding=wrong)


def test_initial_kernels_have_the_spread_of_he():
    kernel = init_conv(jax.random.key(0), 3, 64, 128)["kernel"]
    assert kernel.shape == (3, 3, 64, 128)
    assert abs(float(kernel.std()) / (2 / (9 * 128)) ** 0.5 - 1) < 0.02
    assert init_conv(jax.random.key(0), 3, 8, 8, groups=8)["kernel"].shape[2] == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("form", ["auto", "lax", "taps"])
@pytest.mark.parametrize("groups", [1, 4])
def test_every_form_has_gradients_in_every_dtype(dtype, form, groups):
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
