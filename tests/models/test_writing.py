"""A model that writes where it is shown no answer."""

import jax
import numpy as np
import pytest

from tl_jax.generation import beam_search, greedy
from tl_jax.models import t5, writing

MODEL = t5(vocabulary=11, width=8, depth=1, heads=2, hidden=12, buckets=4, most=6)
INPUTS = {"tokens": np.array([[3, 4, 5], [6, 7, 8]])}


def test_it_writes_as_the_searches_do():
    params, _ = MODEL.init(jax.random.key(0))
    args, how = (MODEL.decode, params, INPUTS, 5), dict(end=1)
    one = writing(MODEL, 5, **how).apply(params, {}, INPUTS)[0]
    np.testing.assert_array_equal(one.written, greedy(*args, **how))
    how |= dict(beams=3, penalty=0.5)
    best = writing(MODEL, 5, **how).apply(params, {}, INPUTS)[0].written
    np.testing.assert_array_equal(best, beam_search(*args, **how).tokens[:, 0])
    plain = MODEL.apply(params, {}, INPUTS)[0]
    np.testing.assert_array_equal(one.features, plain.features)


def test_with_an_answer_it_is_the_model_itself():
    params, _ = MODEL.init(jax.random.key(0))
    taught = INPUTS | {"decoder_tokens": np.array([[0, 2], [0, 3]])}
    found, want = (
        model.apply(params, {}, taught)[0]
        for model in (writing(MODEL, 5, end=1), MODEL)
    )
    assert found.written is None
    np.testing.assert_array_equal(found.logits, want.logits)


def test_a_model_that_cannot_go_on():
    encoder = MODEL._replace(decode=None)
    with pytest.raises(ValueError, match="has no `decode`, expected one that writes"):
        writing(encoder, 5, end=1)
