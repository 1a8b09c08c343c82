"""A model that hands on what was computed before."""

import jax
import numpy as np
import pytest

from tl_jax.models import frozen_features
from tl_jax.transfer import full, new_head

X = {"features": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)}


def test_features_come_out_as_they_went_in():
    model = frozen_features(5)
    assert model.init(jax.random.key(0)) == ({}, {})
    out, stats = model.apply({}, {}, X)
    np.testing.assert_array_equal(out.features, X["features"])
    assert (model.width, out.logits, stats) == (5, None, {})


def test_a_head_reads_them():
    model = frozen_features(5)
    params = new_head(2, 5)(jax.random.key(1), full({}, {})).params
    assert set(params) == {"head"}
    params["head"]["kernel"] = np.arange(10, dtype=np.float32).reshape(5, 2)
    out, _ = model.apply(params, {}, X)
    want = X["features"] @ params["head"]["kernel"] + params["head"]["bias"]
    np.testing.assert_allclose(out.logits, want, rtol=1e-5, atol=1e-5)


def test_another_field():
    out, _ = frozen_features(5, "z").apply({}, {}, {"z": X["features"]})
    np.testing.assert_array_equal(out.features, X["features"])


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=r"'features' is \[3, 5\], expected \[B 4\]"):
        frozen_features(4).apply({}, {}, X)
