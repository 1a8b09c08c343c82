"""Relative positions: buckets by hand and transformers', the bias by a loop."""

import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.nn import attention, relative_bias
from tl_jax.nn.attention import in_front
from tl_jax.nn.relative import buckets


def test_buckets_by_hand():
    """Of 8, four are single; 4..15 share the rest by the log of the distance."""
    want = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7]
    np.testing.assert_array_equal(buckets(8, 16), want)
    assert buckets(32, 128).max() == 31
    assert buckets(16, 128)[[0, 7, 8, 127, 128]].tolist() == [0, 7, 8, 15, 15]


@pytest.mark.parametrize("count, most", [(1, 8), (8, 4), (8, 3)])
def test_bad_buckets(count, most):
    with pytest.raises(ValueError, match=f"{count} buckets of distances up to {most}"):
        buckets(count, most)


@pytest.mark.parametrize("both", [True, False])
def test_a_bias_by_a_loop(both):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(8, 3)).astype(np.float32)
    queries, keys = np.array([[0, 1, 2], [5, 40, 9]]), np.array([[0, 1, 2, 3]] * 2)
    got = relative_bias({"embedding": table}, queries, keys, most=16, both=both)
    assert got.shape == (2, 3, 3, 4)
    for b, h, t, s in np.ndindex(got.shape):
        ahead = int(keys[b, s] - queries[b, t])
        if both:
            row = buckets(4, 16)[min(abs(ahead), 16)] + 4 * (ahead > 0)
        else:
            row = buckets(8, 16)[min(max(-ahead, 0), 16)]
        assert got[b, h, t, s] == table[row, h]


def test_keys_in_front_get_no_bias():
    bias = jnp.ones((1, 2, 3, 4))
    wide = in_front(bias, 6)
    assert wide.shape == (1, 2, 3, 6)
    assert not wide[..., :2].any()
    assert in_front(bias, 4) is bias
    assert in_front(None, 4) is None


def test_attention_to_a_memory_by_a_loop():
    rng = np.random.default_rng(1)
    sites = ("query", "key", "value", "output")
    site = {n: {"kernel": rng.normal(size=(4, 4)).astype("f")} for n in sites}
    x, memory = (rng.normal(size=(2, n, 4)).astype("f") for n in (3, 5))
    bias = rng.normal(size=(1, 2, 3, 5)).astype("f")
    mask = np.arange(5) < np.array([[5], [2]])
    shared = dict(heads=2, memory=jnp.asarray(memory), bias=bias, scale=1.0)
    got = attention(site, jnp.asarray(x), jnp.asarray(mask), **shared)
    want = np.zeros((2, 3, 4))
    for b, t, h in np.ndindex(2, 3, 2):
        own = slice(2 * h, 2 * h + 2)
        q = (x[b, t] @ site["query"]["kernel"])[own]
        k, v = ((memory[b] @ site[n]["kernel"])[:, own] for n in ("key", "value"))
        power = np.exp(k @ q + bias[0, h, t]) * mask[b]
        want[b, t, own] = power @ v / power.sum()
    want = want @ site["output"]["kernel"]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("count, most", [(32, 128), (8, 12), (64, 1000)])
@pytest.mark.parametrize("both", [True, False])
def test_buckets_are_transformers(count, most, both):
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    ahead = np.arange(-1500, 1500 if both else 1)
    theirs = T5Attention._relative_position_bucket(
        torch.tensor(ahead), both, count, most
    ).numpy()
    table = np.arange(count, dtype=np.float32)[:, None]
    at = jnp.zeros((1, 1), int), jnp.asarray(ahead)[None]
    got = relative_bias({"embedding": table}, *at, most=most, both=both)
    np.testing.assert_array_equal(got[0, 0, 0], theirs)
