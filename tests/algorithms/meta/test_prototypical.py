"""Prototypical networks against learn2learn's and a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from given import as_recorded, below, recorded_heads, scored
from headed import case, crossed, overlapping

from tl_jax.algorithms.meta import Inner, adapt
from tl_jax.algorithms.meta.learner import Seen
from tl_jax.algorithms.meta.prototypical import prototypes
from tl_jax.losses.similarity import unit


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_logits_and_gradients_are_those_of_learn2learn(distance, golden):
    """In float64; it divides by |z| + 1e-8."""
    recorded = recorded_heads(golden)
    made = below(recorded, f"prototypes/{distance}")
    with jax.enable_x64(True):
        as_recorded(prototypes(5, distance=distance), recorded, made)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_logits_are_those_of_a_loop(distance):
    """Rows weigh what they weigh; the temperature divides."""
    rng = np.random.default_rng(0)
    x, query = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    labels, weight = [0, 1, 0, 2, 1, 0], [1, 1, 2, 1, 0.5, 0]
    head = prototypes(3, distance=distance, temperature=0.5)
    found = scored(head, x, labels, query, weight)
    for i, z in enumerate(query):
        for k in range(3):
            own = [n for n in range(6) if labels[n] == k]
            total = sum(weight[n] for n in own)
            c = sum(weight[n] * x[n] for n in own) / total
            near = -((z - c) ** 2).sum()
            if distance == "cosine":
                near = z @ c / np.linalg.norm(z) / np.linalg.norm(c)
            np.testing.assert_allclose(found[i, k], near / 0.5, rtol=2e-5)


def test_the_direction_of_nothing_has_no_slope():
    x = jnp.zeros((1, 3))
    np.testing.assert_array_equal(unit(x), x)
    np.testing.assert_array_equal(jax.grad(lambda x: unit(x).sum())(x), x)


def test_a_task_may_adapt_the_embedding_and_be_differentiated_through():
    """Twice: an inner step on the prototypes' own loss, as finite differences say."""
    with jax.enable_x64(True):
        made, batch = case("prototypical"), overlapping(tasks=1)
        support, query = (
            jax.tree.map(lambda x: jnp.asarray(x[0]), s) for s in batch.values()
        )
        player, seen = made.players["model"], Seen({"model": {}}, None, True)
        inner = Inner(player.plan.rates, optax.sgd(0.5), 2)

        def cost(params, stream):
            fitted = made.learner.fit({"model": params}, support, seen)
            outputs, _ = made.learner.predict(fitted, stream["inputs"], seen)
            return crossed(outputs, stream).mean()

        def value(params):
            own = lambda params, i, key: cost(params, support)  # noqa: E731
            after, _ = adapt(own, {"model": params}, "model", inner)
            return cost(after, query)

        params = player.plan.params
        compiled = jax.jit(jax.value_and_grad(value))
        rng = np.random.default_rng(0)
        along = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
        ends = [
            compiled(jax.tree.map(lambda x, d, s=s: x + s * d, params, along))[0]
            for s in (1e-5, -1e-5)
        ]
        grads = compiled(params)[1]
        slopes = jax.tree.map(lambda g, d: (g * d).sum(), grads, along)
        wanted = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(sum(jax.tree.leaves(slopes)), wanted, rtol=1e-6)
