"""Two small domains, and players for them: what tests of adaptation share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tl_jax.losses import cross_entropy
from tl_jax.models.mlp import mlp
from tl_jax.transfer import full
from tl_jax.types import Player

CLASSES, WIDTH, STEPS = 3, 5, 20


def network(**how):
    return mlp(4, (7, WIDTH), classes=CLASSES, **how)


def critic(inputs=WIDTH, classes=1, **how):
    return mlp(inputs, (6,), classes=classes, **how)


def player(model, tx=None, seed=0, change=None):
    plan = full(*model.init(jax.random.key(seed)))
    if change is not None:
        plan = change(jax.random.key(seed), plan)
    return Player(model, plan, optax.sgd(0.1) if tx is None else tx)


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def stream(seed, rows=6, shift=0.0, labels=True, padding=0):
    """Rows around `shift`; the last `padding` rows weigh nothing and hold rubbish."""
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, (rows, 4)).astype(np.float32)
    weight = np.ones(rows, np.float32)
    if padding:
        x[-padding:], weight[-padding:] = 1e3, 0
    made = {"inputs": {"features": jnp.asarray(x)}, "weight": jnp.asarray(weight)}
    made["index"] = jnp.arange(rows)
    if labels:
        made["labels"] = jnp.asarray(rng.integers(0, CLASSES, rows))
    return made


def batch(seed=0, labelled=False, padding=0):
    """A source, a shifted target without labels, and a few labelled rows of it."""
    made = {
        "source": stream(seed, padding=padding),
        "target": stream(seed + 1, 8, 1.0, labels=False, padding=padding),
    }
    if labelled:
        made["target_labelled"] = stream(seed + 2, 3, 1.0)
    return made


def started(built, players, seed=0):
    return built.init(jax.random.key(seed), players)


def moved(before, after):
    """Player -> its leaves' changes."""
    return jax.tree.map(lambda a, b: b - a, before.train, after.train)
