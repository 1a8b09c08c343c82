"""Heads over given features: support and queries as arrays, without a network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from few import wide

from tl_jax.algorithms.meta import on_model
from tl_jax.algorithms.meta.learner import Seen
from tl_jax.types import Model, Outputs

PLAIN = Seen({"model": {}}, None, False)
"""No statistics, no key: a prediction."""


def identity(width: int) -> Model:
    """A model whose features are its inputs."""

    def apply(params, stats, inputs, *, key=None, norm="running"):
        return Outputs(inputs["features"]), stats

    return Model(lambda key: ({}, {}), apply, width)


def support_of(x, labels, weight=None) -> dict:
    """A support stream of features [N D]."""
    weight = np.ones(len(labels)) if weight is None else weight
    return {
        "inputs": {"features": jnp.asarray(x, wide())},
        "labels": jnp.asarray(labels, jnp.int32),
        "weight": jnp.asarray(weight, wide()),
        "index": np.arange(len(labels)),
    }


def scored(head, x, labels, query, weight=None, params_of=None):
    """Logits [B C] of a head, or of a learner, fitted to x [N D]."""
    params_of = {"model": {}} | (params_of or {})
    learner = head if hasattr(head, "predict") else on_model(identity(0), head)
    fitted = learner.fit(params_of, support_of(x, labels, weight), PLAIN)
    inputs = {"features": jnp.asarray(query, wide())}
    return learner.predict(fitted, inputs, PLAIN)[0].logits


def as_recorded(head, recorded: dict, made: dict, rtol: float = 1e-7) -> None:
    """Logits, loss and its gradients by both sets agree with a recorded head's."""
    labels, truth = recorded["support_labels"], recorded["query_labels"]

    def loss(support, query):
        logits = scored(head, support, labels, query)
        losses = optax.softmax_cross_entropy_with_integer_labels
        return losses(logits, truth).mean(), logits

    both = jax.value_and_grad(loss, (0, 1), has_aux=True)
    (value, logits), grads = jax.jit(both)(recorded["support"], recorded["query"])
    found = dict(zip(("grad_support", "grad_query"), grads, strict=True))
    for name, x in (found | {"loss": value, "logits": logits}).items():
        scale = np.abs(made[name]).max()
        np.testing.assert_allclose(x / scale, made[name] / scale, atol=rtol)


def recorded_heads(golden) -> dict:
    """What `record_meta.py` recorded of heads, by the rest of the name."""
    with np.load(golden / "meta.npz") as file:
        return {n[6:]: file[n] for n in file if n.startswith("heads/")}


def below(recorded: dict, prefix: str) -> dict:
    """Entries below a prefix."""
    cut = len(prefix) + 1
    return {n[cut:]: x for n, x in recorded.items() if n.startswith(f"{prefix}/")}
