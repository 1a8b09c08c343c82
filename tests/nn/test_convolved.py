"""A convolution's three products by hand against XLA's own."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.nn.convolved import convolved, plain_convolved, tapped

CASES = {
    "same": ((3, 3), (1, 1), ((1, 1), (1, 1))),
    "stride": ((3, 3), (2, 2), ((0, 1), (0, 1))),
    "point": ((1, 1), (1, 1), ((0, 0), (0, 0))),
    "strided point": ((1, 1), (2, 2), ((0, 0), (0, 0))),
    "odd": ((2, 5), (1, 3), ((0, 2), (3, 1))),
}


def arrays(size, batch: int = 8, dtype=jnp.float32) -> tuple:
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (batch, 9, 8, 4))
    return x.astype(dtype), jax.random.normal(keys[1], (*size, 4, 6)) / 3


def total(f, x, kernel):
    y = f(x, kernel)
    return (y * jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)).sum()


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


def test_the_rule_differentiates_twice_and_under_vmap():
    size, plain, _, own = forms("same")
    x, kernel = arrays(size)
    way = jnp.cos(kernel)

    def curve(f, outer):
        def slope(t):
            return jax.grad(lambda k: jnp.square(f(x, k)).sum())(kernel + t * way)

        return outer(slope)(0.0)

    for outer in (jax.jacfwd, jax.jacrev):
        chex.assert_trees_all_close(
            curve(own, outer), curve(plain, outer), rtol=1e-4, atol=1e-3
        )
    each = jax.vmap(lambda x: jax.grad(partial(total, own), 1)(x[None], kernel))
    every = jax.vmap(lambda x: jax.grad(partial(total, plain), 1)(x[None], kernel))
    chex.assert_trees_all_close(each(x), every(x), rtol=1e-5, atol=1e-5)
