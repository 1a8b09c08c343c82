"""Tent: the authors' steps, what moves, padding, resume, leaks."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_domains import network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels
from tl_jax.algorithms.adaptation.tent import tent
from tl_jax.models import conv4
from tl_jax.nn import Running
from tl_jax.transfer import batch_norms, chain, freeze, full, layer_norms, rate
from tl_jax.tree import NoMatch, flatten, unflatten
from tl_jax.types import Player

KEY = jax.random.key(0)
NORMS = chain(freeze(".*"), batch_norms())


def target(seed=1, rows=8, padding=0):
    return {"target": stream(seed, rows, 1.0, labels=False, padding=padding)}


def adapting(seed=0, **how):
    players = {"model": player(network(batch_norms=True), seed=seed, change=NORMS)}
    made = tent(players, **how)
    return made, *started(made, players)


@pytest.fixture(scope="module")
def theirs(golden):
    with np.load(golden / "test_time.npz") as file:
        return {n[5:]: file[n] for n in file.files if n.startswith("tent/")}


def under(found, prefix):
    return {n[len(prefix) :]: a for n, a in found.items() if n.startswith(prefix)}


def test_steps_are_those_of_the_authors(theirs):
    """Their forward pass predicts with the weights before its step."""
    model = conv4(size=8, channels=1, filters=3, depth=2, classes=4)
    stats = {f"blocks/{i}/norm": Running(jnp.ones(3), jnp.ones(3)) for i in (0, 1)}
    plan = NORMS(KEY, full(unflatten(under(theirs, "params/")), stats))
    players = {"model": Player(model, plan, optax.sgd(0.5))}
    made = tent(players)
    state, frozen = started(made, players)
    step = jax.jit(made.step)
    for image, logits in zip(theirs["image"], theirs["logits"], strict=True):
        inputs = {"image": jnp.asarray(image)}
        got = made.predict(state, frozen, {"query": {"inputs": inputs}}).logits
        np.testing.assert_allclose(got, logits, rtol=1e-4, atol=1e-4)
        given = {"inputs": inputs, "weight": jnp.ones(6), "index": jnp.arange(6)}
        state, _ = step(state, frozen, {"target": given}, KEY)
    after = under(theirs, "after/")
    moved = flatten(state.train["model"])
    assert {path.split("/")[2] for path in moved} == {"norm"}
    for path, leaf in moved.items():
        np.testing.assert_allclose(leaf, after[path], rtol=1e-4, atol=1e-5)
        assert np.abs(leaf - theirs[f"params/{path}"]).max() > 1e-3


def test_the_loss_is_a_loop():
    made, state, frozen = adapting()
    _, metrics = jax.jit(made.step)(state, frozen, target(padding=2), KEY)
    inputs = {"features": target()["target"]["inputs"]["features"][:6]}
    plan = player(network(batch_norms=True), change=NORMS).plan
    model = network(batch_norms=True)
    logits = model.apply(plan.params, plan.stats, inputs, norm="batch")[0].logits
    total = 0.0
    for row in np.asarray(logits, np.float64):
        p = np.exp(row) / np.exp(row).sum()
        total -= sum(v * np.log(v) for v in p)
    np.testing.assert_allclose(metrics["tent/entropy"], total / 6, rtol=1e-5)


@pytest.mark.parametrize("statistics", ["batch", "moved"])
def test_padding_changes_nothing_where_statistics_are_the_batchs(statistics):
    made, state, frozen = adapting(statistics=statistics)
    one, _ = jax.jit(made.step)(state, frozen, target(padding=2), KEY)
    short = jax.tree.map(lambda leaf: leaf[:6], target())
    two, _ = jax.jit(made.step)(state, frozen, short, KEY)
    same = all(
        np.allclose(a, b, rtol=1e-4, atol=1e-6)
        for a, b in zip(
            jax.tree.leaves(one.train), jax.tree.leaves(two.train), strict=True
        )
    )
    assert same == (statistics == "batch")
    if same:
        query = target(padding=2)["target"]
        got = made.predict(one, frozen, {"query": query}).logits[:6]
        want = made.predict(one, frozen, {"query": short["target"]}).logits
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


def test_predictions_are_by_the_batch_or_by_moved_statistics():
    query = {"query": target(7)["target"]}
    row = jax.tree.map(lambda leaf: leaf[:1], query)
    shown = {}
    for statistics in ("batch", "moved"):
        made, state, frozen = adapting(statistics=statistics)
        state, _ = made.step(state, frozen, target(), KEY)
        whole = made.predict(state, frozen, query).logits
        alone = made.predict(state, frozen, row).logits
        shown[statistics] = np.allclose(whole[:1], alone, atol=1e-5)
        moved = state.memory["stats"]["model"]["blocks/0/norm"].mean != 0
        assert moved.any() == (statistics == "moved")
    assert shown == {"batch": False, "moved": True}


def test_entropy_falls():
    made, state, frozen = adapting()
    step, told = jax.jit(made.step), []
    for _ in range(20):
        state, metrics = step(state, frozen, target(), KEY)
        told.append(float(metrics["loss"]))
    assert told[-1] < 0.9 * told[0]


def test_layer_norms_of_a_text_model_adapt(tiny_bert, tokens):
    plan = full(tiny_bert.params, tiny_bert.stats)
    head = {"kernel": 0.5 * jax.random.normal(KEY, (16, 3)), "bias": jnp.zeros(3)}
    plan = full(plan.params | {"head": head})
    plan = chain(freeze(".*"), layer_norms())(KEY, plan)
    players = {"model": Player(tiny_bert.model, plan, optax.sgd(0.1))}
    made = tent(players)
    state, frozen = started(made, players)
    given = {"inputs": tokens, "weight": jnp.ones(3), "index": jnp.arange(3)}
    step = jax.jit(made.step)
    state, first = step(state, frozen, {"target": given}, KEY)
    state, second = step(state, frozen, {"target": given}, KEY)
    assert second["loss"] < first["loss"]


def test_it_goes_on_bit_by_bit_and_many_are_one_by_one():
    made, state, frozen = adapting()
    step = jax.jit(made.step)
    whole = state
    for seed in range(4):
        whole, _ = step(whole, frozen, target(seed), KEY)
    half = state
    for seed in range(2):
        half, _ = step(half, frozen, target(seed), KEY)
    leaves, shape = jax.tree.flatten(half)
    half = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(x)) for x in leaves])
    for seed in range(2, 4):
        half, _ = step(half, frozen, target(seed), KEY)
    chex.assert_trees_all_equal(half, whole)
    given = [target(5), target(6)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    many, _ = jax.vmap(made.step, (None, None, 0, None))(state, frozen, both, KEY)
    for i, one in enumerate(given):
        eager, _ = made.step(state, frozen, one, KEY)
        got = jax.tree.map(lambda leaf, i=i: leaf[i], many.train)
        chex.assert_trees_all_close(got, eager.train, rtol=1e-4, atol=1e-6)


def test_mistakes_are_told():
    made, state, frozen = adapting()
    with pytest.raises(LeakedLabels):
        made.step(state, frozen, {"target": stream(1, 8)}, KEY)
    with pytest.raises(NoMatch, match="no stream 'target'"):
        made.step(state, frozen, {"source": stream(1, 8)}, KEY)
    model = network(batch_norms=True)
    for change, words in (
        (None, "'blocks/0/bias' moves too"),
        (freeze(".*"), "nothing moves"),
        (chain(NORMS, rate("head/bias", 1.0)), "'head/bias' moves too"),
    ):
        with pytest.raises(ValueError, match=f"tent: {words}"):
            tent({"model": player(model, change=change)})
    with pytest.raises(NoMatch, match="statistics 'running'"):
        adapting(statistics="running")
