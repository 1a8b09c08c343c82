"""Meta-gradients against learn2learn's and torch's, recorded on the same episodes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from recorded import episodes, everything, params, under

from tl_jax.algorithms.meta import Inner, inner_rates, maml, query_loss
from tl_jax.algorithms.meta.episodic import STEPS
from tl_jax.models import conv4, mlp
from tl_jax.nn import Running
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import flatten
from tl_jax.types import Plan

HEAD = chain(freeze(".*"), rate("head/.*", 1.0))
SGD = optax.sgd(0.05)
METHODS = {
    **{f"maml_{steps}": (SGD, steps, {}) for steps in (1, 5)},
    **{f"fomaml_{steps}": (SGD, steps, {"mode": "first_order"}) for steps in (1, 5)},
    **{f"anil_{steps}": (SGD, steps, {"plan": HEAD}) for steps in (1, 5)},
    "maml_momentum_3": (optax.sgd(0.05, momentum=0.9), 3, {}),
    "maml_adam_3": (optax.adam(0.01), 3, {}),
    "maml_adam_root_3": (optax.adam(0.01, eps_root=1e-6), 3, {}),
}


def squared(outputs, stream):
    return jnp.square(outputs.logits - stream["labels"]).sum(-1)


def crossed(outputs, stream):
    """In the precision of the logits; the library's own is float32 always."""
    both = outputs.logits, stream["labels"]
    return optax.softmax_cross_entropy_with_integer_labels(*both)


def meta_gradient(model, stats, weights, batch, loss, tx, steps, plan=None, **how):
    """(loss, path -> gradient) of the mean over tasks."""
    rates = jax.tree.map(lambda _: 1.0, weights)
    inner = Inner(inner_rates(Plan(weights, rates, stats), plan), tx, steps, **how)
    objective = query_loss(maml(model, loss, inner), loss)
    memory = {"stats": {"model": stats}, STEPS: 0}

    def value(weights, batch):
        return objective({"model": weights}, memory, batch, jax.random.key(0))[0]

    found, gradient = jax.jit(jax.value_and_grad(value))(weights, batch)
    return np.asarray(found), {p: np.asarray(g) for p, g in flatten(gradient).items()}


def agree(found, at: str, limit: float) -> None:
    """To `limit` of a leaf's largest entry, or of a tenth of the largest of all."""
    value, gradient = found
    wanted = under(f"{at}/grad")
    np.testing.assert_allclose(value, everything()[f"{at}/loss"], rtol=limit)
    assert gradient.keys() == wanted.keys()
    floor = 0.1 * max(np.abs(expected).max() for expected in wanted.values())
    for path, expected in wanted.items():
        error = np.abs(gradient[path] - expected).max()
        assert error < limit * max(np.abs(expected).max(), floor), path


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("name", METHODS)
def test_mlp(name, activation):
    """In float64. Adam has no derivative where a dead ReLU's gradient is 0."""
    if (name, activation) == ("maml_adam_3", "relu"):
        pytest.skip("sqrt has no slope at 0: not recorded")
    tx, steps, how = METHODS[name]
    with jax.enable_x64(True):
        model = mlp(1, (12, 12), classes=1, activation=activation, dtype=jnp.float64)
        weights, batch = params("mlp/weights", "f8"), episodes("mlp", "features", "f8")
        found = meta_gradient(model, {}, weights, batch, squared, tx, steps, **how)
    agree(found, f"mlp/{activation}/{name}", 1e-9)


CASES = [("maml_2", "float64"), ("maml_2", "float32"), ("fomaml_2", "float64")]


@pytest.mark.parametrize("name, dtype", CASES)
def test_conv4(name, dtype):
    """Batch norm by each set's own statistics; biases before it have no gradient."""
    with jax.enable_x64(dtype == "float64"):
        model = conv4(
            size=20, channels=1, filters=8, classes=3, down="stride", dtype=dtype
        )
        weights, batch = (
            params("conv4/weights", dtype),
            episodes("conv4", "image", dtype),
        )
        stats = {
            f"blocks/{i}/norm": Running(np.zeros(8, dtype), np.ones(8, dtype))
            for i in range(4)
        }
        args = crossed, optax.sgd(0.1), 2
        mode = "first_order" if name == "fomaml_2" else "unrolled"
        found = meta_gradient(model, stats, weights, batch, *args, mode=mode)
    agree(found, f"conv4/{dtype}/{name}", 1e-9 if dtype == "float64" else 1e-4)
