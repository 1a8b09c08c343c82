"""3x3 convolutions by tiles: all three products against XLA's own."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.nn.convolved import convolved, plain_convolved
from tl_jax.nn.winograd import fits, kernel_gradient, pays, winograd

ONE = (1, 1)
SAME = (ONE, ONE)
CASES = {
    "same": ((9, 8), SAME, 16, 24),
    "uneven": ((7, 10), ((0, 2), (2, 1)), 24, 16),
    "valid": ((5, 6), ((0, 0), (0, 0)), 16, 16),
    "one tile": ((1, 2), SAME, 16, 16),
    "wide, so in one part": ((4, 4), SAME, 16, 130),
}


def arrays(name: str, batch: int = 32) -> tuple:
    """An image [B H W I], a kernel [3 3 I O] and pads."""
    size, pads, d_in, d_out = CASES[name]
    keys = jax.random.split(jax.random.key(0))
    kernel = jax.random.normal(keys[1], (3, 3, d_in, d_out)) / 12
    return jax.random.normal(keys[0], (batch, *size, d_in)), kernel, pads


def near(got, want, share: float = 5e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.abs(a - b).max() <= share * np.abs(b).max()


def test_one_tile_by_a_loop():
    """The definition of a convolution, for one image, written out."""
    x, kernel, pads = arrays("valid", 1)
    y = np.zeros((3, 4, 16))
    for h in range(3):
        for w in range(4):
            window = np.asarray(x[0, h : h + 3, w : w + 3])
            y[h, w] = np.einsum("abi,abio->o", window, np.asarray(kernel))
    near(winograd(x, kernel, pads)[0], y)


@pytest.mark.parametrize("batch", [32, 3])
@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_xla(name, batch):
    x, kernel, pads = arrays(name, batch)
    plain = partial(plain_convolved, stride=ONE, pads=pads)
    want, back = jax.vjp(plain, x, kernel)
    dy = jnp.cos(want)
    near(winograd(x, kernel, pads), want)
    away = tuple((2 - low, 2 - high) for low, high in pads)
    got = winograd(dy, kernel, away, back=True), kernel_gradient(x, dy, pads)
    near(got, back(dy))


@pytest.mark.parametrize("name", CASES)
def test_the_rule_takes_them_and_jit_changes_nothing(name):
    x, kernel, pads = arrays(name)
    d_out = CASES[name][-1]
    assert fits(x, d_out, (3, 3), ONE, pads)
    text = str(jax.make_jaxpr(partial(convolved, stride=ONE, pads=pads))(x, kernel))
    assert text.count("dot_general") == (16 if pays(x, d_out, pads) else 0)

    def total(f, x, kernel):
        return jnp.sin(f(x, kernel, ONE, pads)).sum()

    slopes = jax.grad(partial(total, convolved), (0, 1))
    near(jax.jit(slopes)(x, kernel), slopes(x, kernel))
    near(
        slopes(x, kernel), jax.grad(partial(total, plain_convolved), (0, 1))(x, kernel)
    )


def reversed_twice(f):
    """The slope of f's values, weighted: one pass backwards, not one a value."""

    def total(t):
        return sum(
            (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum() for y in f(t)
        )

    return jax.grad(total)


@pytest.mark.parametrize("outer", [jax.jacfwd, reversed_twice])
def test_second_derivatives_are_those_of_xla(outer):
    with jax.enable_x64(True):
        x, kernel, pads = arrays("uneven", 4)
        x, kernel = x.astype(jnp.float64), kernel.astype(jnp.float64)
        assert pays(x, 16, pads)

        def along(f, t):
            grad = jax.grad(lambda x, k: jnp.sin(f(x, k, ONE, pads)).sum(), (0, 1))
            return grad(x + t * jnp.cos(x), kernel + t * jnp.sin(kernel))

        own, plain = (
            outer(partial(along, f))(0.0) for f in (convolved, plain_convolved)
        )
        chex.assert_trees_all_close(own, plain, rtol=1e-9, atol=1e-9)


def test_where_it_does_not_fit_and_where_it_does_not_pay():
    x = jnp.zeros((2, 8, 8, 16))
    assert fits(x, 16, (3, 3), ONE, SAME)
    assert not fits(x, 16, (3, 3), (2, 2), SAME)
    assert not fits(x, 16, (5, 5), ONE, SAME)
    assert not fits(x, 8, (3, 3), ONE, SAME)
    assert not fits(x, 16, (3, 3), ONE, ((3, 3), ONE))
    assert pays(x, 16, SAME)
    assert not pays(x, 64, SAME)


def test_under_vmap_over_kernels():
    x, kernel, pads = arrays("same", 4)
    kernels = jnp.stack([kernel, -2 * kernel])
    got = jax.vmap(lambda k: convolved(x, k, ONE, pads))(kernels)
    near(got, jnp.stack([plain_convolved(x, k, ONE, pads) for k in kernels]))
