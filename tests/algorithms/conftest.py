"""A small BERT with a head, and a batch for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from penalised import KEY

from tl_jax.models import bert
from tl_jax.transfer import full, new_head


@pytest.fixture(scope="module")
def model():
    sizes = dict(vocabulary=20, width=8, depth=2, heads=2, hidden=16, positions=8)
    return bert(**sizes, rate=0.0, attention_rate=0.0, head_rate=0.0)


@pytest.fixture(scope="module")
def base(model):
    return new_head(3, 8)(KEY, full(*model.init(jax.random.key(1))))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(2)
    mask = np.ones((6, 5), bool)
    mask[1:, 3:] = False
    inputs = {"tokens": jnp.asarray(rng.integers(0, 20, (6, 5))), "mask": mask}
    weight = jnp.asarray([1, 1, 2, 1, 0.5, 0], jnp.float32)
    labels = jnp.asarray([0, 1, 2, 1, 0, 2])
    return {"train": {"inputs": inputs, "labels": labels, "weight": weight}}
