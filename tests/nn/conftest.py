"""A tiny BERT, two rows for it, and random numbers."""

import jax
import numpy as np
import pytest

from tl_jax.models import bert


@pytest.fixture(scope="module")
def model():
    sizes = {"vocabulary": 20, "width": 8, "depth": 2, "heads": 2, "hidden": 12}
    none = {"rate": 0.0, "attention_rate": 0.0, "head_rate": 0.0}
    return bert(positions=10, types=0, **sizes, **none)


@pytest.fixture(scope="module")
def params(model):
    return model.init(jax.random.key(0))[0]


@pytest.fixture(scope="module")
def inputs():
    tokens = np.random.default_rng(3).integers(0, 20, (2, 5))
    return {"tokens": tokens, "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])}


@pytest.fixture
def rng():
    return np.random.default_rng(0)
