"""A linear model and streams, small enough to follow by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from tl_jax.transfer import full
from tl_jax.tree import flatten
from tl_jax.types import Model, Outputs, Player

D, C = 3, 2


def model(dropout: float = 0.0) -> Model:
    """logits = (x w + c) v, with a key a random mask on x."""

    def init(key):
        one, two = jax.random.split(key)
        params = {
            "body": {"kernel": jax.random.normal(one, (D, D)), "bias": jnp.ones(D)},
            "head": {"kernel": jax.random.normal(two, (D, C))},
        }
        return params, {}

    def apply(params, stats, inputs, *, key=None, norm="running"):
        x = inputs["x"]
        if key is not None and dropout:
            x = x * jax.random.bernoulli(key, 1 - dropout, x.shape)
        hidden = x @ params["body"]["kernel"] + params["body"]["bias"]
        return Outputs(hidden, hidden @ params["head"]["kernel"]), stats

    return Model(init, apply, D)


def player(tx, *transfers, seed: int = 0, of: Model | None = None) -> Player:
    """A player of the linear model whose plan went through the transforms."""
    own = of or model()
    plan = full(*own.init(jax.random.key(seed)))
    for transfer in transfers:
        plan = transfer(jax.random.key(1), plan)
    return Player(own, plan, tx)


def stream(rows: int = 8, seed: int = 0, padding: int = 0) -> dict:
    """Random rows, the last `padding` of weight 0 and wild values."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, D)).astype(np.float32)
    weight = np.ones(rows, np.float32)
    if padding:
        weight[-padding:] = 0
        x[-padding:] = 50
    return {
        "inputs": {"x": jnp.asarray(x)},
        "labels": jnp.asarray(rng.normal(size=(rows, C)).astype(np.float32)),
        "weight": jnp.asarray(weight),
        "index": jnp.arange(rows),
    }


def squared(outputs: Outputs, stream: dict) -> jax.Array:
    """[B] half the squared distance."""
    return 0.5 * ((outputs.logits - stream["labels"]) ** 2).sum(-1)


def numpy_gradients(params, batch):
    """Of the mean half squared distance, by hand, as {path: array}."""
    flat = {
        path: np.asarray(leaf, np.float64) for path, leaf in flatten(params).items()
    }
    x, y = np.asarray(batch["inputs"]["x"]), np.asarray(batch["labels"])
    w, c, v = flat["body/kernel"], flat["body/bias"], flat["head/kernel"]
    hidden = x @ w + c
    error = (hidden @ v - y) / len(x)
    back = error @ v.T
    return {
        "body/kernel": x.T @ back,
        "body/bias": back.sum(0),
        "head/kernel": hidden.T @ error,
    }
