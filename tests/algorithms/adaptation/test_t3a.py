"""T3A: the authors' predictions, a loop, memory, leaks."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_domains import CLASSES, WIDTH, network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels
from tl_jax.algorithms.adaptation.t3a import t3a
from tl_jax.models import mlp
from tl_jax.transfer import full
from tl_jax.tree import NoMatch
from tl_jax.types import Model, Outputs, Player

KEY = jax.random.key(0)


def target(seed=1, padding=0):
    return {"target": stream(seed, 8, 1.0, labels=False, padding=padding)}


def adapting(capacity=2):
    players = {"model": player(network())}
    made = t3a(players, capacity=capacity)
    return made, *started(made, players)


def bare(classes):
    """A head over features as they come."""

    def apply(params, stats, inputs, *, key=None, norm="running"):
        x, head = inputs["features"], params["head"]
        return Outputs(x, x @ head["kernel"] + head["bias"]), stats

    return Model(None, apply, classes)


def test_predictions_are_the_authors(golden):
    with np.load(golden / "test_time.npz") as file:
        theirs = {n[4:]: file[n] for n in file.files if n.startswith("t3a/")}
    head = {n: jnp.asarray(theirs[n]) for n in ("kernel", "bias")}
    players = {"model": Player(bare(5), full({"head": head}), optax.sgd(0.1))}
    made = t3a(players, capacity=3)
    state, frozen = started(made, players)
    step = jax.jit(made.step)
    for x, logits in zip(theirs["features"], theirs["logits"], strict=True):
        given = {"inputs": {"features": jnp.asarray(x)}, "weight": jnp.ones(6)}
        state, _ = step(state, frozen, {"target": given}, KEY)
        got = made.predict(state, frozen, {"query": given}).logits
        np.testing.assert_allclose(got, logits, rtol=1e-4, atol=1e-5)


def loop(params, batches, capacity):
    """Class -> [(entropy, feature)] of least entropy, in float64."""
    kernel = np.asarray(params["head"]["kernel"], np.float64)
    bias = np.asarray(params["head"]["bias"], np.float64)
    kept = {c: [] for c in range(CLASSES)}

    def add(rows):
        for z in rows:
            logits = z @ kernel + bias
            p = np.exp(logits) / np.exp(logits).sum()
            kept[int(logits.argmax())].append((-(p * np.log(p)).sum(), tuple(z)))
        for c in kept:
            kept[c] = sorted(kept[c])[:capacity]

    add(kernel.T)
    for batch in batches:
        add(np.asarray(batch, np.float64))
    return kept


def test_supports_and_predictions_are_a_loop():
    made, state, frozen = adapting()
    params = player(network()).plan.params
    step, shown = jax.jit(made.step), []
    for seed in range(3):
        given = target(seed, padding=3)
        state, metrics = step(state, frozen, given, KEY)
        outputs, _ = network().apply(params, {}, given["target"]["inputs"])
        shown.append(outputs.features[:5])
    kept = loop(params, shown, 2)
    found = state.memory["t3a"]
    for c, rows in kept.items():
        got = np.asarray(found["entropy"][c])
        want = [entropy for entropy, _ in rows]
        np.testing.assert_allclose(got[: len(rows)], want, rtol=1e-3, atol=1e-5)
        assert np.isinf(got[len(rows) :]).all()
    assert metrics["t3a/supports"] == sum(map(len, kept.values()))
    query = target(9)
    z = network().apply(params, {}, query["target"]["inputs"])[0].features
    got = made.predict(state, frozen, {"query": query["target"]}).logits
    for c, rows in kept.items():
        total = np.zeros(WIDTH)
        for _, row in rows:
            total += np.array(row) / max(np.linalg.norm(row), 1e-12)
        length = np.linalg.norm(total)
        want = np.asarray(z, np.float64) @ (total / length if length else total)
        np.testing.assert_allclose(got[:, c], want, rtol=1e-3, atol=1e-4)


def test_nothing_moves_but_memory():
    made, state, frozen = adapting()
    after, _ = made.step(state, frozen, target(), KEY)
    chex.assert_trees_all_equal(after.train, state.train)
    chex.assert_trees_all_equal(after.opt, state.opt)
    assert after.step == 1
    assert (after.memory["t3a"]["supports"] != state.memory["t3a"]["supports"]).any()


def test_it_goes_on_bit_by_bit_and_many_are_one_by_one():
    made, state, frozen = adapting()
    step = jax.jit(made.step)

    def run(state, seeds):
        for seed in seeds:
            state, _ = step(state, frozen, target(seed), KEY)
        return state

    leaves, shape = jax.tree.flatten(run(state, range(2)))
    half = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(x)) for x in leaves])
    chex.assert_trees_all_equal(run(half, range(2, 4)), run(state, range(4)))
    given = [target(5), target(6)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    many, _ = jax.vmap(made.step, (None, None, 0, None))(state, frozen, both, KEY)
    for i, one in enumerate(given):
        got = jax.tree.map(lambda leaf, i=i: leaf[i], many.memory)
        chex.assert_trees_all_close(
            got, made.step(state, frozen, one, KEY)[0].memory, rtol=1e-4, atol=1e-6
        )


def test_mistakes_are_told():
    made, state, frozen = adapting()
    with pytest.raises(LeakedLabels):
        made.step(state, frozen, {"target": stream(1, 8)}, KEY)
    with pytest.raises(ValueError, match="capacity is 0"):
        adapting(0)
    with pytest.raises(NoMatch, match="t3a: head"):
        t3a({"model": player(mlp(4, (7, 5)))})
    wide = network()._replace(width=9)
    with pytest.raises(ValueError, match=r"kernel \[5, 3\].*9 features"):
        t3a({"model": player(wide)})
