"""Derivative rules written by hand: numbers, second derivatives, half precision."""

from functools import partial
from typing import get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from tl_jax.nn import conv, layer_norm
from tl_jax.nn.activations import activate
from tl_jax.nn.attend import attend
from tl_jax.nn.dense import dense, product, thin_product
from tl_jax.nn.rules import Rules
from tl_jax.tree import NoMatch

BOTH = get_args(Rules)

B, H, T, S, D = 2, 3, 4, 5, 6


def normal(seed: int, *shape: int, dtype=jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def plain_attend(q, k, v, mask, kept=None, bias=0.0, scale=D**-0.5):
    """The same by softmax and JAX's own derivatives."""
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k) * scale + bias
    scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1)
    weights = weights if kept is None else weights * kept
    return jnp.einsum("bhts,bhsd->bhtd", weights, v)


def twice(x):
    """Each head for two heads of queries, one after the other."""
    return jnp.repeat(x, 2, axis=1)


def plain_norm(site, x, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    var = jnp.square(centred).mean(-1, keepdims=True)
    return centred / jnp.sqrt(var + epsilon) * site["scale"] + site["bias"]


def qkv(dtype=jnp.float32) -> tuple:
    mask = jnp.arange(S) < jnp.array([[[[3]]], [[[S]]]])
    q = normal(0, B, H, T, D, dtype=dtype)
    k, v = normal(1, B, H, S, D, dtype=dtype), normal(2, B, H, S, D, dtype=dtype)
    return (q, k, v), mask


def pairs(rules: Rules = "hand") -> dict:
    """Name -> (the library's by `rules`, plain one, arguments)."""
    arrays, mask = qkv()
    every = normal(6, B, 2 * H, T, D)
    causal = mask & (jnp.arange(S) <= jnp.arange(T)[:, None] + S - T)
    site = {"scale": normal(3, D), "bias": normal(4, D)}
    x = normal(5, B, T, D)
    return {
        "attend": (
            lambda q, k, v: attend(q, k, v, mask, rules=rules),
            lambda q, k, v: plain_attend(q, k, v, mask),
            arrays,
        ),
        "grouped": (
            lambda q, k, v: attend(q, k, v, causal, rules=rules),
            lambda q, k, v: plain_attend(q, twice(k), twice(v), causal),
            (every, *arrays[1:]),
        ),
        "bias": (
            lambda q, k, v, b: attend(q, k, v, mask, rules=rules, bias=b, scale=1.0),
            lambda q, k, v, b: plain_attend(q, k, v, mask, bias=b, scale=1.0),
            (*arrays, normal(9, 1, H, T, S)),
        ),
        "grouped bias": (
            lambda q, k, v, b: attend(q, k, v, causal, rules=rules, bias=b),
            lambda q, k, v, b: plain_attend(q, twice(k), twice(v), causal, bias=b),
            (every, *arrays[1:], normal(9, 1, 2 * H, T, S)),
        ),
        "layer_norm": (
            lambda x: layer_norm(site, x, 1e-5, rules),
            lambda x: plain_norm(site, x, 1e-5),
            (x,),
        ),
        "gelu": (
            lambda x: activate("gelu", x, rules),
            partial(jax.nn.gelu, approximate=False),
            (3 * x,),
        ),
        "thin": (
            lambda x, a, b: thin_product(thin_product(x, a), b),
            lambda x, a, b: x @ a @ b,
            (x, normal(7, D, 2), normal(8, 2, D)),
        ),
    }


def scalar(f, *args):
    """A number whose derivatives see every output with another weight."""
    y = f(*args)
    return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("name", pairs())
def test_values_and_gradients_are_the_plain_ones(name, rules):
    own, plain, args = pairs(rules)[name]
    every = tuple(range(len(args)))
    chex.assert_trees_all_close(own(*args), plain(*args), rtol=2e-5, atol=2e-6)
    got = jax.jit(jax.grad(partial(scalar, own), every))(*args)
    want = jax.grad(partial(scalar, plain), every)(*args)
    chex.assert_trees_all_close(got, want, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("name", pairs())
@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
def test_second_derivatives_equal_finite_differences(name, outer, rules):
    with jax.enable_x64(True):
        own, _, args = pairs(rules)[name]
        args = jax.tree.map(lambda x: x.astype(jnp.float64), args)
        flat, unravel = ravel_pytree(args)
        way = np.random.default_rng(0).normal(size=flat.size)

        def slope(at):
            return jax.grad(lambda a: scalar(own, *unravel(a)))(at)

        line = jax.jit(lambda t: slope(flat + t * way))
        step = 1e-5
        want = (line(step) - line(-step)) / (2 * step)
        got = outer(line)(0.0)
        chex.assert_trees_all_close(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rules", BOTH)
def test_forward_mode_goes_through_in_float32(rules):
    for own, plain, args in pairs(rules).values():
        way = jax.tree.map(jnp.cos, args)
        got, want = jax.jvp(own, args, way), jax.jvp(plain, args, way)
        chex.assert_trees_all_close(got, want, rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dropout_of_weights_is_that_of_the_plain_form(dtype):
    arrays, mask = qkv()
    key, rate = jax.random.key(7), 0.4
    kept = jax.random.bernoulli(key, 1 - rate, (B, H, T, S)) / (1 - rate)
    low = jax.tree.map(lambda x: x.astype(dtype), arrays)

    def mine(*args):
        return attend(*args, mask, key, rate)

    got = jax.grad(partial(scalar, mine), (0, 1, 2))(*low)
    want = jax.grad(
        lambda *args: scalar(lambda q, k, v: plain_attend(q, k, v, mask, kept), *args),
        (0, 1, 2),
    )(*arrays)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.04
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def test_a_row_that_sees_nothing_has_no_nan():
    arrays, _ = qkv()
    nothing = jnp.zeros((B, 1, 1, S), bool)

    def total(q, k, v):
        return scalar(lambda *a: attend(*a, nothing), q, k, v)

    value, grads = jax.value_and_grad(total, (0, 1, 2))(*arrays)
    assert all(np.isfinite(x).all() for x in (value, *grads))
    mean = arrays[2].mean(2, keepdims=True)
    y = attend(*arrays, nothing)
    chex.assert_trees_all_close(y, jnp.broadcast_to(mean, y.shape), atol=1e-6)


@pytest.mark.parametrize("rules", BOTH)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_row_that_sees_nothing_moves_with_values_alone(dtype, rules):
    arrays, _ = qkv(dtype)
    nothing = jnp.zeros((B, 1, 1, S), bool)

    def total(q, k, v, bias):
        return scalar(lambda *a: attend(*a, nothing, rules=rules, bias=bias), q, k, v)

    bias = normal(9, 1, H, T, S)
    dq, dk, dv, dbias = jax.grad(total, (0, 1, 2, 3))(*arrays, bias)
    assert not any(x.any() for x in (dq, dk, dbias))
    want = jax.grad(partial(scalar, lambda v: v.mean(2, keepdims=True) + 0 * arrays[0]))
    assert np.abs(dv - want(arrays[2])).max() <= 0.02 * np.abs(dv).max()


HALF = {
    "product": (lambda rules, a, b: product(a, b, rules), ((B, T, D), (D, 7))),
    "dense": (
        lambda rules, x, w: dense({"kernel": w}, x, rules=rules, dtype=jnp.float32),
        ((B, T, D), (D, 7)),
    ),
    "attend": (
        lambda rules, q, k, v: attend(q, k, v, qkv()[1], rules=rules),
        ((B, H, T, D), (B, H, S, D), (B, H, S, D)),
    ),
    "biased": (
        lambda rules, q, k, v, b: attend(
            q, k, v, qkv()[1], rules=rules, bias=b, scale=1.0
        ),
        ((B, H, T, D), (B, H, S, D), (B, H, S, D), (1, H, T, S)),
    ),
}


@pytest.mark.parametrize("name", HALF)
def test_rules_of_half_precision_share_values_and_auto_knows_forward_mode(name):
    own, shapes = HALF[name]
    wide = tuple(normal(i, *shape) for i, shape in enumerate(shapes))
    args = tuple(x.astype(jnp.bfloat16) for x in wide)
    hand, auto = partial(own, "hand"), partial(own, "auto")
    np.testing.assert_array_equal(hand(*args), auto(*args))
    every = tuple(range(len(args)))
    slopes = [jax.grad(partial(scalar, f), every)(*args) for f in (hand, auto)]
    for a, b in zip(*slopes, strict=True):
        assert np.abs(a - b).max() <= 0.03 * np.abs(b).max()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(hand, args, args)
    got, want = jax.jvp(auto, args, args)[1], jax.jvp(auto, wide, wide)[1]
    assert np.abs(got - want).max() <= 0.03 * np.abs(want).max()


def test_unknown_rules_are_told_by_every_layer():
    x, kernel = jnp.ones((1, 2, 2, 2)), jnp.ones((1, 1, 2, 2))
    layers = {
        "product": lambda rules: product(x, kernel[0, 0], rules),
        "attend": lambda rules: attend(x, x, x, x > 0, rules=rules),
        "norm": lambda rules: layer_norm({"scale": 1.0}, x, 1e-5, rules),
        "gelu": lambda rules: activate("gelu", x, rules),
        "conv": lambda rules: conv({"kernel": kernel}, x, rules=rules),
    }
    for layer in layers.values():
        layer("auto")
        with pytest.raises(NoMatch, match="rules 'Auto' matches nothing; nearest"):
            layer("Auto")
    with pytest.raises(NoMatch, match="activation 'glu' matches nothing; nearest: gel"):
        activate("glu", x)


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8)])
def test_half_products_are_near_and_their_kernel_gets_float32(shape):
    x, kernel = normal(0, *shape), normal(1, 8, 6)

    def total(x, kernel):
        return scalar(product, x, kernel)

    want = jax.grad(total, (0, 1))(x, kernel)
    got = jax.jit(jax.grad(total, (0, 1)))(x.astype(jnp.bfloat16), kernel)
    assert [g.dtype for g in got] == [jnp.bfloat16, jnp.float32]
    for a, b in zip(got, want, strict=True):
        assert np.abs(a - b).max() <= 0.02 * np.abs(b).max()


def test_half_products_differentiate_twice_and_under_vmap():
    x, kernel = normal(0, 4, 8).astype(jnp.bfloat16), normal(1, 8, 6)
    way = normal(2, 8, 6)

    def total(kernel, x=x):
        return jnp.square(product(jnp.sin(x), kernel)).sum()

    want = 2 * jnp.einsum("bi,bo->io", jnp.sin(x.astype(jnp.float32)), jnp.sin(x) @ way)
    forward = jax.jvp(jax.grad(total), (kernel,), (way,))[1]
    reverse = jax.grad(lambda k: (jax.grad(total)(k) * way).sum())(kernel)
    for got in (forward, reverse):
        assert np.abs(got - want).max() <= 0.03 * np.abs(want).max()
    many = jax.vmap(lambda row: jax.grad(total)(kernel, row[None]))(x)
    whole = jax.grad(total)(kernel)
    assert np.abs(many.sum(0) - whole).max() <= 0.02 * np.abs(whole).max()


def test_half_attention_differentiates_twice():
    arrays, mask = qkv(jnp.bfloat16)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), arrays)

    def curve(f, args):
        def slope(t):
            q = (args[0] * (1 + t)).astype(args[0].dtype)
            return jax.grad(lambda k: scalar(f, q, k, args[2]))(args[1])

        return jax.jacfwd(lambda t: slope(t).astype(jnp.float32))(0.1)

    got = curve(lambda *a: attend(*a, mask), arrays)
    want = curve(lambda *a: plain_attend(*a, mask), wide)
    assert np.abs(got - want).max() <= 0.1 * np.abs(want).max()
