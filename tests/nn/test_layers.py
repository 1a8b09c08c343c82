"""Layers against loops that a reader can check by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.nn.activations import ACTIVATIONS
from tl_jax.nn.attention import attend, split_heads

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def site_of(rng, d_in, d_out):
    kernel = rng.standard_normal((d_in, d_out), np.float32)
    return {"kernel": kernel, "bias": rng.standard_normal(d_out, np.float32)}


def dense_loop(site, x):
    """y_o = sum_i x_i W_io + b_o, row by row."""
    rows = x.reshape(-1, x.shape[-1])
    out = np.zeros((len(rows), site["kernel"].shape[1]))
    for n, row in enumerate(rows):
        for o in range(out.shape[1]):
            out[n, o] = sum(row[i] * site["kernel"][i, o] for i in range(len(row)))
            out[n, o] += site["bias"][o] if "bias" in site else 0
    return out.reshape(*x.shape[:-1], -1)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 4, 3)])
def test_dense(rng, shape):
    site, x = site_of(rng, 3, 5), rng.standard_normal(shape, np.float32)
    np.testing.assert_allclose(nn.dense(site, x), dense_loop(site, x), **CLOSE)
    bare = {"kernel": site["kernel"]}
    np.testing.assert_allclose(nn.dense(bare, x), dense_loop(bare, x), **CLOSE)


def test_dense_accumulates_bfloat16_in_float32(rng):
    site = {"kernel": jnp.ones((4096, 1))}
    x = jnp.full((1, 4096), 1.0, jnp.bfloat16)
    assert nn.product(x, site["kernel"]).dtype == jnp.float32
    assert float(nn.product(x, site["kernel"])[0, 0]) == 4096.0
    assert nn.dense(site, x).dtype == jnp.bfloat16


def test_embed(rng):
    table = rng.standard_normal((5, 2), np.float32)
    ids = np.array([[4, 0], [1, 1]])
    got = nn.embed({"embedding": jnp.asarray(table)}, jnp.asarray(ids))
    for b in range(2):
        for t in range(2):
            np.testing.assert_array_equal(got[b, t], table[ids[b, t]])


def norm_loop(site, x, epsilon):
    out = np.zeros(x.shape)
    for at in np.ndindex(x.shape[:-1]):
        row = [float(v) for v in x[at]]
        mean = sum(row) / len(row)
        var = sum((v - mean) ** 2 for v in row) / len(row)
        for d, v in enumerate(row):
            y = (v - mean) / math.sqrt(var + epsilon) * site["scale"][d]
            out[(*at, d)] = y + (site["bias"][d] if "bias" in site else 0)
    return out


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(rng, bias):
    x = 3 + rng.standard_normal((2, 3, 4), np.float32)
    site = {"scale": rng.standard_normal(4, np.float32)}
    if bias:
        site["bias"] = rng.standard_normal(4, np.float32)
    got = nn.layer_norm(site, jnp.asarray(x), 1e-3)
    np.testing.assert_allclose(got, norm_loop(site, x, 1e-3), rtol=1e-4, atol=1e-5)


def test_layer_norm_of_a_constant_row_and_of_bfloat16():
    site = nn.init_norm(4)
    flat = nn.layer_norm(site, jnp.full((1, 4), 7.0), 1e-12)
    np.testing.assert_array_equal(flat, np.zeros((1, 4)))
    # 1000..1003 are apart in float32 alone; the statistics are of what arrived.
    x = jnp.asarray([[1000.0, 1008.0, 1016.0, 1024.0]], jnp.bfloat16)
    got = nn.layer_norm(site, x, 0.0)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(float)[0, 3], 1.3416, atol=5e-3)


def attend_loop(q, k, v, mask):
    """One head at a time, one query at a time. q [B H T d], mask [B S]."""
    out = np.zeros(q.shape)
    for b, h, t in np.ndindex(q.shape[:3]):
        seen = [s for s in range(k.shape[2]) if mask[b, s]] or range(k.shape[2])
        score = {s: float(q[b, h, t] @ k[b, h, s]) / q.shape[3] ** 0.5 for s in seen}
        if not mask[b].any():
            score = dict.fromkeys(seen, 0.0)
        total = sum(math.exp(x) for x in score.values())
        for s in seen:
            out[b, h, t] += math.exp(score[s]) / total * v[b, h, s]
    return out


MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)


def test_attend_with_masks_and_a_row_that_sees_nothing(rng):
    q = rng.standard_normal((3, 2, 4, 5), np.float32)
    k = rng.standard_normal((3, 2, 4, 5), np.float32)
    v = rng.standard_normal((3, 2, 4, 5), np.float32)
    got = attend(*map(jnp.asarray, (q, k, v)), MASK[:, None, None, :])
    np.testing.assert_allclose(got, attend_loop(q, k, v, MASK), **CLOSE)
    np.testing.assert_allclose(got[2, :, 0], v[2].mean(1), **CLOSE)
    slope = jax.grad(lambda q: attend(q, k, v, MASK[:, None, None, :]).sum())(q)
    assert np.isfinite(slope).all()


def test_masked_keys_are_not_read_at_all(rng):
    q, k, v = (rng.standard_normal((3, 1, 4, 2), np.float32) for _ in range(3))
    before = attend(q, k, v, MASK[:, None, None, :])
    k[1, 0, [1, 3]], v[1, 0, [1, 3]] = 1e6, -1e6
    after = attend(q, k, v, MASK[:, None, None, :])
    np.testing.assert_array_equal(before, after)


def test_attention_is_four_products_around_attend(rng):
    x = rng.standard_normal((3, 4, 6), np.float32)
    names = ("query", "key", "value", "output")
    site = {name: site_of(rng, 6, 6) for name in names}
    q, k, v = (
        np.stack([dense_loop(site[n], x)[..., :3], dense_loop(site[n], x)[..., 3:]], 1)
        for n in names[:3]
    )
    heads = attend_loop(q, k, v, MASK)
    want = dense_loop(site["output"], np.concatenate([heads[:, 0], heads[:, 1]], -1))
    got = nn.attention(site, jnp.asarray(x), jnp.asarray(MASK), heads=2)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(split_heads(jnp.asarray(x), 2)[1, 0, 2], x[1, 2, :3])


def test_dropout():
    x, key = jnp.ones((200, 50)), jax.random.key(0)
    got = np.asarray(nn.dropout(x, 0.25, key))
    assert set(np.unique(got)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((got == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(got, nn.dropout(x, 0.25, key))
    assert nn.dropout(x, 0.25, None) is x
    assert nn.dropout(x, 0.0, key) is x
    assert nn.dropout(x.astype(jnp.bfloat16), 0.25, key).dtype == jnp.bfloat16


def test_activations():
    def exact(x):
        return 0.5 * x * (1 + math.erf(x / 2**0.5))

    def by_tanh(x):
        return 0.5 * x * (1 + math.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))

    want = {
        "gelu": exact,
        "gelu_new": by_tanh,
        "relu": lambda x: max(x, 0.0),
        "silu": lambda x: x / (1 + math.exp(-x)),
        "tanh": math.tanh,
    }
    assert want.keys() <= ACTIVATIONS.keys()
    for name, f in want.items():
        for x in (-3.0, -0.5, 0.0, 2.0):
            got = ACTIVATIONS[name](jnp.float32(x))
            np.testing.assert_allclose(got, f(x), rtol=1e-4, atol=1e-6)


def test_initial_values():
    values = np.asarray(nn.normal(jax.random.key(0), (300, 40), 0.5))
    assert np.abs(values).max() <= 1.0
    assert abs(values.mean()) < 0.02
    site = nn.init_dense(jax.random.key(1), 200, 3)
    assert site["kernel"].shape == (200, 3)
    assert 0.05 < np.asarray(site["kernel"]).std() < 0.1
    np.testing.assert_array_equal(site["bias"], np.zeros(3))
