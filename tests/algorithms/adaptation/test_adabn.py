"""AdaBN: exact statistics of a whole target set, as a function and as steps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_domains import batch, network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels
from tl_jax.algorithms.adaptation.adabn import adabn, target_statistics
from tl_jax.models import conv4, resnet
from tl_jax.nn import Fixed, Running
from tl_jax.transfer import freeze, full
from tl_jax.tree import NoMatch
from tl_jax.types import Player

KEY = jax.random.key(0)
MODELS = {
    "conv4": conv4(size=8, channels=1, filters=3, depth=3, classes=2),
    "resnet": resnet(
        None,
        kind="basic",
        stages=(1, 1),
        widths=(4, 6),
        stem="cifar",
        stem_width=4,
        channels=1,
        classes=2,
    ),
}


def pictures(rows=10, batch=4, seed=0):
    """(all [rows ...], the same as batches [K batch ...] with wild padding)."""
    x = 1 + 2 * np.random.default_rng(seed).normal(size=(rows, 8, 8, 1))
    x = x.astype(np.float32)
    count = -(-rows // batch)
    padded = np.full((count * batch, 8, 8, 1), 1e3, np.float32)
    padded[:rows] = x
    weight = np.zeros(count * batch, np.float32)
    weight[:rows] = 1
    return jnp.asarray(x), {
        "inputs": {"image": jnp.asarray(padded.reshape(count, batch, 8, 8, 1))},
        "weight": jnp.asarray(weight.reshape(count, batch)),
    }


@pytest.mark.parametrize("name", MODELS)
def test_statistics_are_those_of_the_set_as_one_batch(name):
    """In which every layer sees what the layers before it normalised."""
    model = MODELS[name]
    params, stats = model.init(KEY)
    whole, batches = pictures()
    got = jax.jit(lambda b: target_statistics(model, params, stats, b))(batches)
    want, own = model.apply(params, stats, {"image": whole}, norm="own")
    chex.assert_trees_all_close(got, own, rtol=1e-3, atol=1e-4)
    logits = model.apply(params, got, {"image": whole})[0].logits
    np.testing.assert_allclose(logits, want.logits, rtol=1e-3, atol=1e-4)
    assert (
        np.abs(model.apply(params, stats, {"image": whole})[0].logits - logits).max()
        > 1e-2
    )


def test_a_round_settles_a_layer():
    model = MODELS["conv4"]
    params, stats = model.init(KEY)
    whole, batches = pictures()
    _, own = model.apply(params, stats, {"image": whole}, norm="own")
    for rounds in range(4):
        got = target_statistics(model, params, stats, batches, rounds=rounds)
        right = [
            np.allclose(got[at].mean, own[at].mean, rtol=1e-3, atol=1e-4)
            and np.allclose(got[at].var, own[at].var, rtol=1e-3, atol=1e-4)
            for at in sorted(own)
        ]
        assert right == [i < rounds for i in range(3)]


def test_nodes_keep_their_kind_and_others_their_statistics():
    model = MODELS["conv4"]
    plan = freeze("blocks/1/norm/.*")(KEY, full(*model.init(KEY)))
    _, batches = pictures()
    got = target_statistics(model, plan.params, plan.stats, batches)
    assert isinstance(got["blocks/1/norm"], Fixed)
    assert isinstance(got["blocks/0/norm"], Running)
    assert (
        np.abs(got["blocks/1/norm"].mean - plan.stats["blocks/1/norm"].mean).max() > 0
    )
    part = target_statistics(
        model, plan.params, plan.stats, batches, where="blocks/0/.*"
    )
    chex.assert_trees_all_close(part["blocks/0/norm"], got["blocks/0/norm"])
    chex.assert_trees_all_equal(part["blocks/1/norm"], plan.stats["blocks/1/norm"])


def target_of(batches, k):
    made = jax.tree.map(lambda leaf: leaf[k], batches)
    return {"target": made | {"index": jnp.arange(4)}}


def test_steps_are_rounds_and_resume_bit_by_bit():
    model = MODELS["conv4"]
    players = {"model": Player(model, full(*model.init(KEY)), optax.sgd(0.1))}
    whole, batches = pictures()
    made = adabn(players, period=3)
    step = jax.jit(made.step)

    def run(state, first, last):
        for k in range(first, last):
            state, metrics = step(state, frozen, target_of(batches, k % 3), KEY)
        return state, metrics

    state, frozen = started(made, players)
    after, metrics = run(state, 0, 9)
    plan = players["model"].plan
    want = target_statistics(model, plan.params, plan.stats, batches)
    chex.assert_trees_all_close(
        after.memory["stats"]["model"], want, rtol=1e-5, atol=1e-6
    )
    chex.assert_trees_all_equal(after.train, state.train)
    assert metrics["adabn/rows"] == 2
    query = {"query": {"inputs": {"image": whole}}}
    got = made.predict(after, frozen, query).logits
    np.testing.assert_allclose(
        got,
        model.apply(plan.params, want, {"image": whole})[0].logits,
        rtol=1e-4,
        atol=1e-5,
    )
    middle, _ = run(state, 0, 4)
    leaves, shape = jax.tree.flatten(middle)
    kept = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    again, _ = run(kept, 4, 9)
    chex.assert_trees_all_equal(again, after)


def test_between_changes_statistics_stay():
    players = {"model": player(network(batch_norms=True))}
    made = adabn(players, period=2)
    state, frozen = started(made, players)
    given = {"target": batch()["target"]}
    once, _ = made.step(state, frozen, given, KEY)
    chex.assert_trees_all_equal(once.memory["stats"], state.memory["stats"])
    twice, _ = made.step(once, frozen, given, KEY)
    assert (
        twice.memory["stats"]["model"]["blocks/0/norm"].mean
        != state.memory["stats"]["model"]["blocks/0/norm"].mean
    ).any()
    assert twice.memory["adabn"]["blocks/0/norm"].count == 0


def test_many_at_once_are_one_by_one():
    players = {"model": player(network(batch_norms=True))}
    made = adabn(players, period=1)
    state, frozen = started(made, players)
    given = [{"target": batch(seed)["target"]} for seed in (0, 5)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *given)
    got, _ = jax.vmap(made.step, (None, None, 0, None))(state, frozen, both, KEY)
    for i, one in enumerate(given):
        want, _ = made.step(state, frozen, one, KEY)
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], got.memory), want.memory, rtol=1e-5
        )


def test_mistakes_are_told():
    players = {"model": player(network(batch_norms=True))}
    made = adabn(players, period=1)
    state, frozen = started(made, players)
    with pytest.raises(LeakedLabels):
        made.step(state, frozen, {"target": stream(1, 8)}, KEY)
    with pytest.raises(NoMatch, match="no stream 'target'"):
        made.step(state, frozen, {"source": stream(1, 8)}, KEY)
    with pytest.raises(ValueError, match="period is 0"):
        adabn(players, period=0)
    with pytest.raises(NoMatch, match="adabn: where"):
        adabn({"model": player(network())}, period=1)
    foreign = network(batch_norms=True)
    plain = foreign._replace(
        apply=lambda p, s, x, **how: (foreign.apply(p, {}, x, **how)[0], s)
    )
    players = {"model": player(plain)}
    made = adabn(players, period=1)
    state, frozen = started(made, players)
    with pytest.raises(ValueError, match="doesn't measure rows"):
        made.step(state, frozen, {"target": batch()["target"]}, KEY)
