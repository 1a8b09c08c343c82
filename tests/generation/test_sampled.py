"""What may be drawn: temperature, the likeliest, and their share."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.generation import likely, sample
from tl_jax.types import Cache, Decoder

LOGITS = np.log([[0.1, 0.4, 0.05, 0.25, 0.2], [0.9, 0.05, 0.03, 0.015, 0.005]])


def by_hand(row, top_k, top_p):
    """Go down from the likeliest until there are k, or their share holds p."""
    order = sorted(range(len(row)), key=lambda i: -row[i])[: top_k or len(row)]
    share = np.exp([row[i] for i in order])
    share /= share.sum()
    kept, held = [], 0.0
    for i, own in zip(order, share, strict=True):
        if held < top_p:
            kept.append(i)
        held += own
    return sorted(kept)


@pytest.mark.parametrize("top_k, top_p", itertools.product([0, 1, 3, 9], [0.3, 0.7, 1]))
def test_what_is_kept_by_hand(top_k, top_p):
    got = likely(jnp.asarray(LOGITS, jnp.float32), top_k, top_p)
    for row, own in zip(np.asarray(got), LOGITS, strict=True):
        kept = np.flatnonzero(np.isfinite(row)).tolist()
        assert kept == by_hand(own, top_k, top_p)
        np.testing.assert_allclose(row[kept], own[kept], rtol=1e-6)


def constant(logits) -> Decoder:
    """A model that always finds the same likely."""

    def start(params, inputs, length):
        return logits, Cache((), ())

    return Decoder(start, lambda params, cache, tokens: (logits, cache))


def test_frequencies_follow_the_temperature():
    rows = jnp.tile(jnp.asarray(LOGITS[:1], jnp.float32), (400, 1))
    keys = jax.random.split(jax.random.key(0), 400)
    for temperature in (0.5, 1.0, 2.0):
        how = dict(keys=keys, temperature=temperature, end=-1)
        got = np.asarray(sample(constant(rows), {}, {}, 10, **how))
        share = np.bincount(got.ravel(), minlength=5) / got.size
        want = np.exp(LOGITS[0] / temperature)
        want /= want.sum()
        # 5 deviations of a share of 4,000 draws
        np.testing.assert_allclose(share, want, atol=5 * (0.25 / got.size) ** 0.5)


def test_a_row_ends_and_is_padded():
    rows = jnp.asarray([[0.0, 9.0, 0.0], [9.0, 0.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 2)
    got = sample(constant(rows), {}, {}, 4, keys=keys, top_k=1, end=1, pad=7)
    np.testing.assert_array_equal(got, [[1, 7, 7, 7], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "how, text",
    [
        (dict(temperature=0.0), "temperature is 0.0, expected above 0"),
        (dict(top_k=-1), "top_k is -1"),
        (dict(top_p=0.0), "top_p is 0.0, expected in"),
        (dict(top_p=1.5), "top_p is 1.5"),
        (dict(length=0), "length is 0, expected 1 or more"),
    ],
)
def test_bad_settings(how, text):
    length = how.pop("length", 2)
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(ValueError, match=text):
        sample(constant(jnp.asarray(LOGITS)), {}, {}, length, keys=keys, end=0, **how)
