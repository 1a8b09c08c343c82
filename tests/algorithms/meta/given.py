"""Heads over given features: support and queries as arrays, without a network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from few import wide

from tl_jax.algorithms.meta import on_model
from tl_jax.algorithms.meta.learner import Seen
from tl_jax.types import Model, Outputs


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
    seen = Seen({name: {} for name in params_of}, None, False)
    fitted = learner.fit(params_of, support_of(x, labels, weight), seen)
    inputs = {"features": jnp.asarray(query, wide())}
    return learner.predict(fitted, inputs, seen)[0].logits


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


def check_twice(f, *args, small: float = 1e-5) -> None:
    """First and second derivatives, reverse over reverse, are finite differences.

    Along one direction, of a random sum of what f returns; in float64.
    """
    rng = np.random.default_rng(7)
    args = jax.tree.map(jnp.asarray, args)
    drawn = jax.tree.map(lambda x: rng.normal(size=x.shape), jax.eval_shape(f, *args))
    along = jax.tree.map(lambda x: rng.normal(size=x.shape), args)

    def scalar(args):
        return dot(drawn, f(*args))

    def everything(args):
        value, grads = jax.value_and_grad(scalar)(args)
        turn = jax.grad(lambda args: dot(along, jax.grad(scalar)(args)))(args)
        return value, grads, turn

    def at(side):
        return compiled(jax.tree.map(lambda x, d: x + side * d, args, along))

    compiled = jax.jit(everything)
    (high, up, _), (low, down, _), (_, slope, turn) = at(small), at(-small), at(0)
    wanted = (high - low) / (2 * small)
    np.testing.assert_allclose(dot(slope, along), wanted, rtol=1e-6)
    for a, b, c in zip(*map(jax.tree.leaves, (up, down, turn)), strict=True):
        size = np.abs(c).max()
        assert size > 0
        np.testing.assert_allclose((a - b) / (2 * small) / size, c / size, atol=1e-5)


def dot(x, y):
    """The sum of products over all leaves."""
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), x, y)))
