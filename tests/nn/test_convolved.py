"""A convolution's three products by hand against XLA's own."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tl_jax.nn import convolved as of_convolved
from tl_jax.nn.conv import conv
from tl_jax.nn.convolved import (
    FEW,
    convolved,
    fast_convolved,
    plain_convolved,
    shifts,
    tapped,
)
from tl_jax.nn.pointwise import pointwise

CASES = {
    "same": ((3, 3), (1, 1), ((1, 1), (1, 1))),
    "stride": ((3, 3), (2, 2), ((0, 1), (0, 1))),
    "point": ((1, 1), (1, 1), ((0, 0), (0, 0))),
    "strided point": ((1, 1), (2, 2), ((0, 0), (0, 0))),
    "odd": ((2, 5), (1, 3), ((0, 2), (3, 1))),
}


DEEP = {
    "deep": ((3, 3), (1, 1), ((1, 1), (1, 1))),
    "deep, a column unseen": ((3, 3), (2, 2), ((0, 0), (0, 0))),
    "deep, odd": ((2, 5), (1, 3), ((0, 2), (3, 1))),
}


def rules() -> dict:
    """Name -> (rule by hand, plain form, the kernel's shape)."""
    found = {}
    for name, (size, stride, pads) in CASES.items():
        args = dict(stride=stride, pads=pads)
        found[name] = (
            lambda x, k, a=args: convolved(x, k, a["stride"], a["pads"]),
            partial(plain_convolved, **args),
            (*size, 4, 6),
        )
    for name, (size, stride, pads) in DEEP.items():
        args = dict(stride=stride, pads=pads)
        found[name] = (
            lambda x, k, a=args: shifts(x, k, a["stride"], a["pads"]),
            partial(plain_convolved, **args, groups=4),
            (*size, 1, 4),
        )
    found["pointwise"] = (pointwise, partial(jnp.einsum, "bhwi,io->bhwo"), (4, 6))
    return found


def arrays(size, batch: int = 8, dtype=jnp.float32) -> tuple:
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (batch, 9, 8, 4))
    return x.astype(dtype), jax.random.normal(keys[1], (*size, 4, 6)) / 3


def total(f, x, kernel):
    y = f(x, kernel)
    return (y * jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)).sum()


def made(shape, batch: int = 8) -> tuple:
    """An image and a kernel of that shape."""
    return arrays((1, 1), batch)[0], jax.random.normal(jax.random.key(5), shape) / 3


def forms(name: str) -> tuple:
    size, stride, pads = CASES[name]
    made = [partial(f, stride=stride, pads=pads) for f in (plain_convolved, tapped)]
    return size, *made, lambda x, k: convolved(x, k, stride, pads)


@pytest.mark.parametrize("batch", [8, 3])
@pytest.mark.parametrize("name", CASES)
def test_all_forms_agree(name, batch):
    size, plain, taps, own = forms(name)
    x, kernel = arrays(size, batch)
    want = plain(x, kernel)
    slopes = jax.grad(partial(total, plain), (0, 1))(x, kernel)
    for f in (taps, own):
        chex.assert_trees_all_close(f(x, kernel), want, atol=1e-5)
        got = jax.jit(jax.grad(partial(total, f), (0, 1)))(x, kernel)
        chex.assert_trees_all_close(got, slopes, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("cache", "parts"), [(2**30, 1), (11_000, 2), (1, 6)])
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_gradient_is_the_sum_of_its_parts(name, cache, parts, monkeypatch):
    monkeypatch.setattr(of_convolved, "CACHE", cache)
    size, plain, _, own = forms(name)
    x, kernel = arrays(size, 6)
    text = str(jax.make_jaxpr(jax.grad(partial(total, own), 1))(x, kernel))
    if name == "same":  # 3,456 bytes of columns an image
        assert f"length={parts}" in text
    slopes = [jax.grad(partial(total, f), 1)(x, kernel) for f in (own, plain)]
    chex.assert_trees_all_close(*slopes, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_near(name):
    size, plain, _, own = forms(name)
    x, kernel = arrays(size)
    want = jax.value_and_grad(partial(total, plain), (0, 1))(x, kernel)
    low = x.astype(jnp.bfloat16)
    got = jax.value_and_grad(partial(total, own), (0, 1))(low, kernel)
    assert got[1][0].dtype == jnp.bfloat16
    assert got[1][1].dtype == jnp.float32
    for a, b in zip(got[1], want[1], strict=True):
        assert np.abs(a - b).max() <= 0.02 * np.abs(b).max()


@pytest.mark.parametrize("batch", [8, 3])
@pytest.mark.parametrize("name", [*DEEP, "pointwise"])
def test_points_and_shifts_are_the_plain_form(name, batch):
    own, plain, shape = rules()[name]
    x, kernel = made(shape, batch)
    chex.assert_trees_all_close(own(x, kernel), plain(x, kernel), atol=1e-5)
    want = jax.grad(partial(total, plain), (0, 1))(x, kernel)
    got = jax.jit(jax.grad(partial(total, own), (0, 1)))(x, kernel)
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("name", rules())
def test_second_derivatives_equal_finite_differences(name, outer):
    with jax.enable_x64(True):
        own, _, shape = rules()[name]
        at = jax.tree.map(lambda a: a.astype(jnp.float64), made(shape))
        rng = np.random.default_rng(0)
        way = jax.tree.map(lambda a: rng.normal(size=a.shape), at)

        def line(t):
            x, kernel = jax.tree.map(lambda a, w: a + t * w, at, way)
            slope = jax.grad(lambda *a: jnp.sin(own(*a)).sum(), (0, 1))(x, kernel)
            return ravel_pytree(slope)[0]

        line, step = jax.jit(line), 1e-5
        want = (line(step) - line(-step)) / (2 * step)
        chex.assert_trees_all_close(outer(line)(0.0), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", rules())
def test_half_precision_differentiates_twice(name):
    own, plain, shape = rules()[name]
    x, kernel = made(shape)
    way = jnp.cos(x)

    def curve(f, dtype, outer):
        def slope(t):
            moved = (x + t * way).astype(dtype)
            return jax.grad(lambda k: jnp.square(f(moved, k)).sum())(kernel)

        return outer(slope)(0.0)

    want = curve(plain, jnp.float32, jax.jacfwd)
    for outer in (jax.jacfwd, jax.jacrev):
        got = curve(own, jnp.bfloat16, outer)
        assert np.abs(got - want).max() <= 0.03 * np.abs(want).max()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_form_without_a_rule_has_its_values_and_forward_mode(name, dtype):
    size, stride, pads = CASES[name]
    x, kernel = arrays(size, dtype=dtype)
    own = convolved(x, kernel, stride, pads)
    fast = partial(fast_convolved, stride=stride, pads=pads)
    np.testing.assert_array_equal(fast(x, kernel), own)
    way = (jnp.cos(x), jnp.sin(kernel))
    got = jax.jvp(fast, (x, kernel), way)[1]
    plain = partial(plain_convolved, stride=stride, pads=pads)
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), ((x, kernel), way))
    want = jax.jvp(plain, *wide)[1]
    assert np.abs(got - want).max() <= 0.02 * np.abs(want).max()


def test_the_rule_works_under_vmap():
    size, plain, _, own = forms("same")
    x, kernel = arrays(size)
    each = jax.vmap(lambda x: jax.grad(partial(total, own), 1)(x[None], kernel))
    every = jax.vmap(lambda x: jax.grad(partial(total, plain), 1)(x[None], kernel))
    chex.assert_trees_all_close(each(x), every(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_few_channels_are_convolved_as_many(channels):
    """Value and both gradients, and forward mode where taps take over."""
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, channels))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, 8))

    def total(form, x, kernel):
        return jnp.sin(conv({"kernel": kernel}, x, padding=1, form=form)).sum()

    for order in (0, 1):
        grad = jax.grad(total, (1, 2)[order])
        got, want = grad("auto", x, kernel), grad("lax", x, kernel)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)

    def along(kernel):
        return total("auto", x, kernel)

    if channels > FEW:
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(along, (kernel,), (kernel,))
    else:
        _, slope = jax.jvp(along, (kernel,), (kernel,))
        want = jnp.vdot(jax.grad(along)(kernel), kernel)
        np.testing.assert_allclose(slope, want, rtol=1e-3)
