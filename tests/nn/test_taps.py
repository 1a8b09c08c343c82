"""The closed family of products against XLA's convolution, in float64."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.nn import taps
from tl_jax.nn.convolved import plain_convolved
from tl_jax.nn.taps import CPU, OTHER, Window, convolve

CASES = {
    "even": ((6, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "odd": ((7, 5), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "same": ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "valid": ((6, 5), (3, 2), (1, 2), ((0, 0), (0, 0))),
    "gaps": ((7, 8), (2, 1), (3, 2), ((0, 0), (0, 0))),
    "lopsided": ((5, 6), (2, 5), (1, 3), ((0, 2), (3, 1))),
    "cut": ((6, 7), (3, 3), (2, 1), ((-1, 1), (2, -1))),
    "wide pads": ((4, 3), (3, 3), (2, 2), ((3, 4), (2, 3))),
    "unseen": ((8, 8), (3, 3), (4, 3), ((0, 0), (1, 0))),
}


def arrays(image, size, lead=()) -> tuple:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(*lead, 2, *image, 3)), rng.normal(size=(*size, 3, 4))
    return jnp.asarray(x), jnp.asarray(np.broadcast_to(kernel, (*lead, *kernel.shape)))


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_both_orders_are_those_of_xlas_convolution(name):
    image, size, *how = CASES[name]
    with jax.enable_x64(True):
        at = arrays(image, size)
        way = jax.tree.map(jnp.cos, at)

        def slopes(f, *at):
            return jax.grad(lambda *a: jnp.sin(f(*a, *how)).sum(), (0, 1))(*at)

        def along(f, at):
            both = [a * b for a, b in zip(slopes(f, *at), way, strict=True)]
            return sum(map(jnp.sum, both))

        @partial(jax.jit, static_argnums=0)
        def every(f):
            forward = jax.jvp(partial(slopes, f), at, way)[1]
            return (
                f(*at, *how),
                slopes(f, *at),
                forward,
                jax.grad(partial(along, f))(at),
            )

        got, want = every(convolve), every(plain_convolved)
        chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-10)
        chex.assert_trees_all_close(got[2], got[3], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("axes", [(0, 0), (1, None), (None, 3), (2, 0)])
def test_mapped_operands_are_one_by_one(axes):
    with jax.enable_x64(True):
        x, kernel = arrays((5, 6), (3, 3))
        rng = np.random.default_rng(1)
        more = [
            a if i is None else jnp.stack([a * n for n in rng.normal(size=3)], i)
            for a, i in zip((x, kernel), axes, strict=True)
        ]

        def slopes(f, x, kernel):
            def value(*a):
                return jnp.sin(f(*a, (2, 2), ((1, 1), (0, 1)))).sum()

            return jax.grad(lambda k: jax.grad(value)(x, k).sum())(kernel)

        got = jax.vmap(partial(slopes, convolve), axes)(*more)
        for n in range(3):
            own = [
                a if i is None else jnp.take(a, n, i)
                for a, i in zip(more, axes, strict=True)
            ]
            want = slopes(plain_convolved, *own)
            chex.assert_trees_all_close(got[n], want, rtol=1e-10, atol=1e-10)


def test_maps_nest():
    with jax.enable_x64(True):
        x, kernel = arrays((5, 4), (3, 3), (2, 3))
        f, plain = (
            partial(f, stride=(1, 1), pads=((1, 1), (0, 0)))
            for f in (convolve, plain_convolved)
        )
        got = jax.vmap(jax.vmap(f))(x, kernel)
        want = jnp.stack(
            [
                jnp.stack([plain(*own) for own in zip(*pair, strict=True)])
                for pair in zip(x, kernel, strict=True)
            ]
        )
        chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", CPU)
@pytest.mark.parametrize("name", ["odd", "lopsided"])
@pytest.mark.parametrize("cache", [1000, taps.CACHE])
def test_other_platforms_compute_the_same(kind, name, cache, monkeypatch):
    monkeypatch.setattr(taps, "CACHE", cache)
    window = Window(*CASES[name])
    x, kernel = arrays(*CASES[name][:2])
    dy = jnp.cos(plain_convolved(x, kernel, window.stride, window.pads))
    args = {"result": (x, kernel), "image": (dy, kernel), "kernel": (x, dy)}[kind]
    both = [forms[kind](*args, window=window) for forms in (CPU, OTHER)]
    chex.assert_trees_all_close(*both, rtol=1e-5, atol=1e-5)
