"""Relation networks: pairs, sums over shots, statistics of the module."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from few import player
from given import identity, scored
from headed import Case, case, overlapping, started

from tl_jax.algorithms.meta import relation, relation_error
from tl_jax.models import conv4, mlp, relation_module
from tl_jax.types import Outputs

LABELS = np.array([0, 1, 0, 2, 1, 0])


def test_logits_are_the_modules_of_sums_and_queries():
    rng = np.random.default_rng(0)
    x, query = rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    module = mlp(8, (5,), classes=1, activation="tanh")
    params, _ = module.init(jax.random.key(0))
    weight = np.array([1, 1, 0.5, 1, 1, 0])
    learner = relation(identity(4), 3, module)
    found = scored(learner, x, LABELS, query, weight, {"relation": params})
    layer, last = jax.tree.map(np.asarray, (params["blocks"]["0"], params["head"]))
    for i, z in enumerate(query):
        for k in range(3):
            own = np.flatnonzero(k == LABELS)
            total = sum(weight[n] * x[n] for n in own)
            hidden = np.tanh(
                np.concatenate([total, z]) @ layer["kernel"] + layer["bias"]
            )
            wanted = hidden @ last["kernel"] + last["bias"]
            np.testing.assert_allclose(found[i, k], wanted[0], rtol=1e-4, atol=1e-5)


def pictures(tasks=2, ways=3, shots=1, queries=2):
    """Episodes of 4x4 pictures: each class is a pattern."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(size=(tasks, ways, 1, 4, 4, 1))

    def part(rows):
        noise = 0.1 * rng.normal(size=(tasks, ways, rows, 4, 4, 1))
        labels = np.broadcast_to(np.arange(ways)[:, None], (tasks, ways, rows))
        return {
            "inputs": {
                "image": (patterns + noise).reshape(tasks, -1, 4, 4, 1).astype("f")
            },
            "labels": labels.reshape(tasks, -1).astype(np.int32),
            "weight": np.ones((tasks, ways * rows), np.float32),
            "index": np.zeros((tasks, ways * rows), np.int32),
        }

    return {"support": part(shots), "query": part(queries)}


def mapped(norm):
    """One block of a Conv4 and one of the paper's module over its maps."""
    how = dict(filters=4, depth=1, form="lax")
    model = conv4(size=4, channels=1, **how)
    module = relation_module(2, 8, **how)
    players = {
        "model": player(model, optax.adam(1e-2)),
        "relation": player(module, optax.adam(1e-2), seed=1),
    }
    return Case(relation(model, 3, module, maps=True, norm=norm), players)


@pytest.mark.parametrize("norm", ["transductive", "support", "running"])
def test_maps_are_related_and_it_is_seen_whose_statistics_are_used(norm):
    """The loss falls; running statistics of both players move, others none."""
    algorithm, state, frozen = started(mapped(norm), relation_error, tasks="map")
    batch, step, losses = pictures(), jax.jit(algorithm.step), []
    first = state
    for i in range(15):
        state, metrics = step(state, frozen, batch, jax.random.key(i))
        losses.append(metrics["loss"])
    assert losses[-1] < 0.8 * losses[0]
    for name in ("model", "relation"):
        before, now = (jax.tree.leaves(s.memory["stats"][name]) for s in (first, state))
        same = all(map(np.array_equal, before, now))
        assert same == (norm != "running"), name
    other = {**batch, "query": jax.tree.map(np.copy, batch["query"])}
    other["query"]["inputs"]["image"][:, 1:] += 1.0
    predict = jax.jit(algorithm.predict)
    one, two = (predict(state, frozen, b).logits[:, 0] for b in (batch, other))
    assert np.allclose(one, two, atol=1e-5) == (norm != "transductive")


def test_the_module_is_as_large_as_the_papers():
    """64 filters over 2 x 64 maps of 5x5: both blocks, 8 hidden units, 1 output."""
    params, stats = relation_module(5, 128).init(jax.random.key(0))
    sizes = [int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)]
    blocks = (9 * 128 + 1 + 2) * 64 + (9 * 64 + 1 + 2) * 64
    assert sum(sizes) == blocks + (64 + 1) * 8 + 8 + 1
    assert set(stats) == {"blocks/0/norm", "blocks/1/norm"}


def test_the_error_is_of_scores_and_an_absent_class_costs_nothing():
    logits = jnp.array([[0.0, 2.0, -1e9], [0.0, 2.0, -1e9]])
    found = relation_error(Outputs(None, logits), {"labels": jnp.array([0, 1])})
    high = 1 / (1 + np.exp(-2))
    wanted = [0.25 + high**2, 0.25 + (1 - high) ** 2]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_bad_arguments_are_named():
    made = case("prototypical")
    module = relation_module(2, 8, filters=4)
    learner = relation(made.players["model"].model, 3, module, maps=True)
    players = made.players | {"relation": player(module, optax.sgd(0.1))}
    algorithm, state, frozen = started(Case(learner, players))
    with pytest.raises(ValueError, match=r"no map \[B H W C\]"):
        algorithm.step(state, frozen, overlapping(), jax.random.key(0))
    with pytest.raises(ValueError, match="size is 0, expected 1 or more"):
        relation_module(0, 8)
