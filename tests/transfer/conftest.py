"""Three blocks with a new head, and a batch for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import bert
from tl_jax.transfer import full, new_head


@pytest.fixture(scope="module")
def model():
    """Three blocks without dropout, so that a step can be checked."""
    rates = {"rate": 0.0, "attention_rate": 0.0, "head_rate": 0.0}
    size = {"vocabulary": 40, "width": 16, "depth": 3, "heads": 2, "hidden": 32}
    return bert(positions=12, **size, **rates)


@pytest.fixture(scope="module")
def base(model):
    params, stats = model.init(jax.random.key(0))
    return new_head(3, model.width)(jax.random.key(1), full(params, stats))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    mask = np.ones((4, 8), bool)
    mask[1, 5:] = False
    inputs = {"tokens": jnp.asarray(rng.integers(0, 40, (4, 8))), "mask": mask}
    labels = jnp.asarray([0, 1, 2, 1])
    return {"inputs": inputs, "labels": labels, "weight": jnp.ones(4)}
