"""Tiny tasks and players for the tests of meta-learning."""

import jax
import numpy as np

from tl_jax.models.mlp import mlp
from tl_jax.transfer import full
from tl_jax.types import Model, Player

WIDTHS = (7, 6)


def network(inputs: int = 1, outputs: int = 1, activation: str = "tanh") -> Model:
    """A smooth network: finite differences have no kinks to stumble over."""
    how = dict(activation=activation, dtype=wide())
    return mlp(inputs, WIDTHS, classes=outputs, **how)


def wide() -> jax.numpy.dtype:
    """float64 where a test asks for it, else float32."""
    return jax.numpy.asarray(1.0).dtype


def player(model: Model, tx, *transfers, seed: int = 0) -> Player:
    """A player whose fresh plan went through the transforms."""
    plan = full(*model.init(jax.random.key(seed)))
    for transfer in transfers:
        plan = transfer(jax.random.key(1), plan)
    return Player(model, plan, tx)


def waves(tasks: int = 3, shots: int = 5, seed: int = 0, queries: int = 4) -> dict:
    """Sine waves as episodes of regression, [K B 1]."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(0.1, 5, (tasks, 1, 1))
    phase = rng.uniform(0, np.pi, (tasks, 1, 1))

    def part(rows: int) -> dict:
        x = rng.uniform(-5, 5, (tasks, rows, 1))
        return stream({"features": x}, height * np.sin(x - phase))

    return {"support": part(shots), "query": part(queries)}


def blobs(ways: int = 3, shots: int = 2, queries: int = 4, tasks: int = 2, **how):
    """Gaussian classes as episodes of classification; inputs [K B 5]."""
    rng = np.random.default_rng(how.get("seed", 0))
    centres = 2 * rng.normal(size=(tasks, ways, 1, 5))

    def part(rows: int) -> dict:
        x = centres + rng.normal(size=(tasks, ways, rows, 5))
        labels = np.broadcast_to(np.arange(ways)[:, None], (tasks, ways, rows))
        flat = labels.reshape(tasks, -1).astype(np.int32)
        return stream({"features": x.reshape(tasks, ways * rows, 5)}, flat)

    return {"support": part(shots), "query": part(queries)}


def stream(inputs: dict, labels: np.ndarray) -> dict:
    """Streams [K B ...] of full weight, in JAX's default precision."""
    tasks, rows = labels.shape[:2]
    labels = labels.astype(wide()) if labels.dtype.kind == "f" else labels
    return {
        "inputs": {name: x.astype(wide()) for name, x in inputs.items()},
        "labels": labels,
        "weight": np.ones((tasks, rows), wide()),
        "index": np.arange(tasks * rows, dtype=np.int32).reshape(tasks, rows),
    }


def squared(outputs, stream) -> jax.Array:
    """[B] the squared error of one number."""
    return jax.numpy.square(outputs.logits - stream["labels"]).sum(-1)


def task(batch: dict, k: int) -> dict:
    """One task of a batch, without the tasks' axis."""
    return jax.tree.map(lambda x: x[k], batch)
