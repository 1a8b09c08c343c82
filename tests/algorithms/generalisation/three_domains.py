"""A batch of three source domains, and terms on a network of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tl_jax.algorithms.adaptation import adapted
from tl_jax.losses import cross_entropy
from tl_jax.models.mlp import mlp
from tl_jax.transfer import full
from tl_jax.types import Model, Outputs, Player

DOMAINS, CLASSES, STEPS = 3, 3, 10
KEY = jax.random.key(0)


def loss(outputs, stream):
    return cross_entropy(outputs.logits, stream["labels"])


def network():
    return mlp(4, (5,), classes=CLASSES)


def linear():
    """A head over inputs as they come, as the recorded ones are."""

    def apply(params, stats, inputs, *, key=None, norm="running"):
        x, head = inputs["features"], params["head"]
        return Outputs(x, x @ head["kernel"] + head["bias"]), stats

    return Model(None, apply, 4)


def player(model=None, params=None):
    model = network() if model is None else model
    plan = full(*model.init(KEY)) if params is None else full(params)
    return {"model": Player(model, plan, optax.sgd(1.0))}


def batch(seed=0, domain=(0, 2, 1, 1, 0, 2, 1, 0), padding=0):
    """Rows of three domains in any order; the last `padding` weigh nothing."""
    rng = np.random.default_rng(seed)
    domain = np.array(domain)
    x = (rng.normal(size=(len(domain), 4)) + domain[:, None]).astype(np.float32)
    weight = np.ones(len(domain), np.float32)
    if padding:
        weight[-padding:], x[-padding:] = 0, 1e3
    inputs = {"features": jnp.asarray(x), "domain": jnp.asarray(domain)}
    made = {"inputs": inputs, "weight": jnp.asarray(weight)}
    made["labels"] = jnp.asarray(rng.integers(0, CLASSES, len(domain)))
    return {"source": made | {"index": jnp.arange(len(domain))}}


def step(term, players, given, name="it", count=1):
    """(state before, state after, metrics) of one step or more."""
    built = adapted(players, loss, {name: term}, steps=STEPS)
    before, frozen = built.init(KEY, players)
    state, run = before, jax.jit(built.step)
    for _ in range(count):
        state, metrics = run(state, frozen, given, KEY)
    return before, state, metrics


def risks(params, model, given):
    """[E] mean losses of the rows that weigh something, by a loop in float64."""
    stream = given["source"]
    logits = model.apply(params, {}, stream["inputs"])[0].logits
    found = {e: [] for e in range(DOMAINS)}
    for row, label, e, w in zip(
        np.asarray(logits, np.float64),
        *(np.asarray(a) for a in (stream["labels"], stream["inputs"]["domain"])),
        np.asarray(stream["weight"]),
        strict=True,
    ):
        if w:
            found[int(e)].append((row, int(label)))
    return found


def mean_loss(rows, scale=1.0):
    total = 0.0
    for row, label in rows:
        total -= np.log(np.exp(scale * row[label]) / np.exp(scale * row).sum())
    return total / len(rows)
