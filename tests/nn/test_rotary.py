"""Rotary positions, root-mean-square norms and grouped heads, against loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.nn.attention import attend, earlier
from tl_jax.nn.block import mlp

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def rotary_loop(x, positions, base):
    """Each pair (i, i + d/2) turned by position * base^(-2i/d)."""
    out, half = np.zeros(x.shape), x.shape[3] // 2
    for b, h, t in np.ndindex(x.shape[:3]):
        for i in range(half):
            angle = positions[b, t] * base ** (-2 * i / x.shape[3])
            cos, sin = math.cos(angle), math.sin(angle)
            p, q = float(x[b, h, t, i]), float(x[b, h, t, i + half])
            out[b, h, t, i] = p * cos - q * sin
            out[b, h, t, i + half] = q * cos + p * sin
    return out


@pytest.mark.parametrize("base", [10000.0, 100.0])
def test_rotary_by_a_loop(base):
    x, positions = normal(0, 2, 3, 4, 6), np.array([[0, 1, 2, 3], [-2, 0, 7, 40]])
    turn = nn.turns(jnp.asarray(positions), 6, base=base)
    assert turn[0].shape == (2, 1, 4, 3)
    got = nn.rotary(jnp.asarray(x), turn)
    np.testing.assert_allclose(got, rotary_loop(x, positions, base), **CLOSE)


def test_products_see_differences_of_positions_alone():
    q, k = normal(1, 1, 1, 4, 8), normal(2, 1, 1, 4, 8)

    def scores(shift):
        turn = nn.turns(jnp.arange(4)[None] + shift, 8)
        return nn.rotary(q, turn)[0, 0] @ nn.rotary(k, turn)[0, 0].T

    np.testing.assert_allclose(scores(0), scores(-9), rtol=1e-4, atol=1e-5)
    assert np.abs(scores(0) - q[0, 0] @ k[0, 0].T).max() > 0.1


def test_rotary_in_half_precision_turns_in_float32():
    x, turn = normal(3, 1, 2, 1, 8), nn.turns(jnp.array([[1000]]), 8)
    got = nn.rotary(jnp.asarray(x, jnp.bfloat16), turn)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(float), nn.rotary(x, turn), atol=0.03)


def test_a_head_of_odd_width_has_no_pairs():
    with pytest.raises(ValueError, match="3 wide, expected an even number"):
        nn.turns(jnp.zeros((1, 2)), 3)


def test_rms_norm_by_a_loop():
    x, scale = 2 + normal(4, 2, 3, 4), normal(5, 4)
    got = nn.rms_norm({"scale": jnp.asarray(scale)}, jnp.asarray(x), 1e-2)
    want = np.zeros(x.shape)
    for at in np.ndindex(x.shape[:-1]):
        row = [float(v) for v in x[at]]
        power = sum(v * v for v in row) / len(row)
        want[at] = [
            v / math.sqrt(power + 1e-2) * s for v, s in zip(row, scale, strict=True)
        ]
    np.testing.assert_allclose(got, want, **CLOSE)


def test_rms_norm_of_zeros_and_of_bfloat16():
    site = {"scale": jnp.ones(4)}
    np.testing.assert_array_equal(nn.rms_norm(site, jnp.zeros((1, 4)), 1e-6), 0)
    # the squares' sum is beyond float16, in which a norm computed there would end
    got = nn.rms_norm(site, jnp.full((1, 4), 300.0, jnp.float16), 0.0)
    assert got.dtype == jnp.float16
    np.testing.assert_array_equal(got, np.ones((1, 4)))


def test_earlier_by_a_loop():
    mask = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0]], bool)
    got = earlier(jnp.asarray(mask), 3)
    for b, t, s in np.ndindex(2, 3, 5):  # two keys in front, then three tokens' own
        assert got[b, t, s] == (mask[b, s] and (s < 2 or s - 2 <= t))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_heads_are_repeated_ones(groups, dtype):
    q = jnp.asarray(normal(6, 2, 4, 3, 6), dtype)
    k, v = (jnp.asarray(normal(s, 2, groups, 5, 6), dtype) for s in (7, 8))
    mask = earlier(jnp.array([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0]], bool), 3)[:, None]

    def run(q, k, v):
        return jnp.square(attend(q, k, v, mask)).sum()

    def repeated(q, k, v):
        return run(q, *(jnp.repeat(x, 4 // groups, axis=1) for x in (k, v)))

    got, slopes = jax.value_and_grad(run, (0, 1, 2))(q, k, v)
    want, others = jax.value_and_grad(repeated, (0, 1, 2))(q, k, v)
    far = 1e-5 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(got, want, rtol=far)
    for a, b in zip(slopes, others, strict=True):
        assert a.dtype == dtype
        assert np.abs(a - b).astype(float).max() <= far * np.abs(b).max()


def test_a_gated_mlp_by_hand():
    rng = np.random.default_rng(9)
    shapes = {"gate": (3, 5), "up": (3, 5), "down": (5, 3)}
    site = {
        n: {"kernel": rng.standard_normal(s, np.float32)} for n, s in shapes.items()
    }
    x = normal(10, 1, 2, 3)
    a = x @ site["gate"]["kernel"]
    want = (a / (1 + np.exp(-a)) * (x @ site["up"]["kernel"])) @ site["down"]["kernel"]
    got = mlp(site, jnp.asarray(x), activation="silu")
    np.testing.assert_allclose(got, want, **CLOSE)
