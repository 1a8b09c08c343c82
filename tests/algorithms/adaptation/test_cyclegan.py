"""CycleGAN: who moves and by what, the pool, and going on where it stopped."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pictures import (
    SHAPE,
    batch,
    judge,
    maker,
    other_padding,
    player,
    stream,
    tiny_classifier,
    translators,
)

from tl_jax import checkpoint
from tl_jax.algorithms.adaptation import LeakedLabels
from tl_jax.algorithms.adaptation.cyclegan import cyclegan
from tl_jax.algorithms.adaptation.semantic import semantic
from tl_jax.tree import NoMatch
from tl_jax.types import Algorithm, State

KEY = jax.random.key(5)
GENERATORS = ("to_target", "to_source")
CRITICS = ("target_critic", "source_critic")


class Begun(NamedTuple):
    """A compiled algorithm at its start."""

    built: Algorithm
    step: Callable
    state: State
    frozen: dict


def started(players, **how):
    built = cyclegan(players, shape=SHAPE, **how)
    return Begun(built, jax.jit(built.step), *built.init(KEY, players))


@pytest.fixture(scope="module")
def begun():
    """A pool of 6, which batches of 4 and 5 fill in the second step."""
    return started(translators(), pool=6)


def steps(begun, state, count, first=0):
    for i in range(first, first + count):
        own = jax.random.fold_in(KEY, i)
        state, _ = begun.step(state, begun.frozen, batch(10 * i), own)
    return state


def run(players, params, name, image):
    apply = jax.jit(players[name].model.apply)
    return apply(params[name], {}, {"image": image})[0]


def pixels(rows):
    return np.asarray(rows, np.float64) / 127.5 - 1


def loops(players, params, given, cycle, identity):
    """(generators' loss, target critic's, source critic's) by means over rows."""
    s, t = (given[n]["inputs"]["image"] for n in ("source", "target"))
    ws, wt = (np.asarray(given[n]["weight"]) for n in ("source", "target"))
    make = {
        name: lambda x, n=name: run(players, params, n, x).hidden[-1]
        for name in GENERATORS
    }
    seen = {
        name: lambda x, n=name: np.asarray(
            run(players, params, n, x).logits, np.float64
        )
        for name in CRITICS
    }
    to_t, to_s = make["to_target"](s), make["to_source"](t)

    def mean(weight, each):
        return (
            sum(w * v.mean() for w, v in zip(weight, each, strict=True)) / weight.sum()
        )

    def far(one, other):
        return np.abs(pixels(one) - pixels(other))

    generators = mean(ws, (seen["target_critic"](to_t) - 1) ** 2)
    generators += mean(wt, (seen["source_critic"](to_s) - 1) ** 2)
    generators += cycle * mean(ws, far(make["to_source"](to_t), s))
    generators += cycle * mean(wt, far(make["to_target"](to_s), t))
    generators += identity * mean(wt, far(make["to_target"](t), t))
    generators += identity * mean(ws, far(make["to_source"](s), s))
    of_t = mean(wt, (seen["target_critic"](t) - 1) ** 2) + mean(
        ws, seen["target_critic"](to_t) ** 2
    )
    of_s = mean(ws, (seen["source_critic"](s) - 1) ** 2) + mean(
        wt, seen["source_critic"](to_s) ** 2
    )
    return generators, of_t / 2, of_s / 2


@pytest.mark.parametrize("padding", [0, 1])
def test_losses_are_means_over_rows(padding):
    """Discriminators see the translations of before the descent: no rate is 0."""
    players = translators(optax.sgd(1e-3), optax.sgd(0.0))
    begun, given = started(players, cycle=7.0, identity=2.0), batch(padding=padding)
    wanted = loops(players, begun.state.train, given, 7.0, 2.0)
    _, metrics = begun.step(begun.state, begun.frozen, given, KEY)
    names = ("generators", *CRITICS)
    for name, value in zip(names, wanted, strict=True):
        np.testing.assert_allclose(metrics[name], value, rtol=2e-5)


def test_padding_changes_nothing(begun):
    given = batch(padding=2)
    one, _ = begun.step(begun.state, begun.frozen, given, KEY)
    other, _ = begun.step(begun.state, begun.frozen, other_padding(given), KEY)
    chex.assert_trees_all_equal(one.train, other.train)
    chex.assert_trees_all_equal(one.memory["pools"], other.memory["pools"])
    assert one.memory["pools"]["target_critic"].count == 2


@pytest.mark.parametrize(
    ("moving", "still", "places"),
    [(GENERATORS, CRITICS, [0]), (CRITICS, GENERATORS, [1, 2])],
)
def test_players_descend_their_own_losses_by_their_own_rates(moving, still, places):
    """A small step lowers the generators' loss, another the discriminators'."""
    rates = [optax.sgd(1e-3 if moving == own else 0.0) for own in (GENERATORS, CRITICS)]
    players = translators(*rates)
    begun = started(players, pool=0)
    after, _ = begun.step(begun.state, begun.frozen, batch(), KEY)
    for name in still:
        chex.assert_trees_all_equal(after.train[name], begun.state.train[name])
    before = loops(players, begun.state.train, batch(), 10.0, 5.0)
    now = loops(players, after.train, batch(), 10.0, 5.0)
    for place in places:
        assert now[place] < before[place]


def test_resumed_in_the_middle_of_the_pool_every_bit_is_the_same(begun, tmp_path):
    whole = steps(begun, begun.state, 4)
    half = steps(begun, begun.state, 1)
    assert half.memory["pools"]["target_critic"].count == 4
    leaves, shape = jax.tree.flatten(half)
    np.savez(tmp_path / "state.npz", *map(np.asarray, leaves))
    with np.load(tmp_path / "state.npz") as file:
        again = [jnp.asarray(file[name]) for name in file.files]
    resumed = steps(begun, jax.tree.unflatten(shape, again), 3, first=1)
    chex.assert_trees_all_equal(resumed, whole)
    assert checkpoint.compare(begun.state, whole) == []
    assert whole.memory["pools"]["source_critic"].count == 6


def test_eager_steps_are_the_compiled_one_and_map_over_runs(begun):
    two = jax.tree.map(lambda x, y: jnp.stack([x, y]), batch(3), batch())
    keys = jnp.stack([KEY, KEY])
    step = jax.jit(jax.vmap(begun.built.step, (None, None, 0, 0)))
    mapped, _ = step(begun.state, begun.frozen, two, keys)
    alone, _ = begun.step(begun.state, begun.frozen, batch(), KEY)
    eager, _ = begun.built.step(begun.state, begun.frozen, batch(), KEY)
    chex.assert_trees_all_close(eager, alone, atol=1e-4)
    second = jax.tree.map(lambda x: x[1], mapped.memory)
    chex.assert_trees_all_close(second, alone.memory, atol=1e-3)  # of 255


def test_a_classifier_keeps_what_pictures_show():
    """Its loss by hand; it reaches the generators and never the classifier."""
    players = translators(optax.sgd(1e-2)) | {
        "model": player(tiny_classifier(), seed=7)
    }
    keeping = {"semantic": semantic(3.0)}
    built, step, state, frozen = started(players, consistencies=keeping, main="model")
    after, metrics = step(state, frozen, batch(), KEY)
    model, plan = players["model"].model, players["model"].plan

    def logits(image):
        out = jax.jit(model.apply)(plan.params, plan.stats, {"image": image})[0].logits
        return np.asarray(out, np.float64)

    wanted = 0.0
    for name, there in (("source", "to_target"), ("target", "to_source")):
        image = batch()[name]["inputs"]["image"]
        made = logits(run(players, state.train, there, image).hidden[-1])
        known = logits(image).argmax(-1)
        each = [
            np.log(np.exp(m).sum()) - m[k] for m, k in zip(made, known, strict=True)
        ]
        wanted += 3 * np.mean(each)
    np.testing.assert_allclose(metrics["term/semantic"], wanted, rtol=1e-5)
    chex.assert_trees_all_equal(after.train["model"], state.train["model"])
    chex.assert_trees_all_equal(after.memory["stats"], state.memory["stats"])
    plain = started(players)
    without, _ = plain.step(plain.state, plain.frozen, batch(), KEY)
    moved = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max(),
        after.train["to_target"],
        without.train["to_target"],
    )
    assert max(jax.tree.leaves(moved)) > 0
    shown = built.predict(after, frozen, {"query": batch()["target"]})
    np.testing.assert_allclose(
        shown.logits, logits(batch()["target"]["inputs"]["image"]), rtol=1e-5
    )


def test_semantic_consistency_may_take_the_source_s_labels():
    players = translators(optax.sgd(0.0)) | {"model": player(tiny_classifier(), seed=7)}
    told = {}
    for labels in (False, True):
        keeping = {"semantic": semantic(labels=labels)}
        begun = started(players, consistencies=keeping)
        for name, seed in (("one", 1), ("two", 2)):
            given = batch()
            rng = np.random.default_rng(seed)
            own = jnp.asarray(rng.integers(0, 3, 4))
            given["source"] = given["source"] | {"labels": own}
            _, metrics = begun.step(begun.state, begun.frozen, given, KEY)
            told[labels, name] = float(metrics["term/semantic"])
    assert told[False, "one"] == told[False, "two"]
    assert told[True, "one"] != told[True, "two"]


def test_networks_of_convolutions_play():
    begun = started(translators(make=maker, critic=judge))
    after = steps(begun, begun.state, 1)
    assert checkpoint.compare(begun.state, after) == []
    for name in (*GENERATORS, *CRITICS):
        pairs = (
            jax.tree.leaves(after.train[name]),
            jax.tree.leaves(begun.state.train[name]),
        )
        far = [float(jnp.abs(a - b).max()) for a, b in zip(*pairs, strict=True)]
        assert 0 < max(far) < 0.02, name


def test_labels_of_the_target_are_sealed_and_players_are_named(begun):
    leaked = batch() | {"target": stream(1)}
    with pytest.raises(LeakedLabels, match="'target' brings labels"):
        begun.built.step(begun.state, begun.frozen, leaked, KEY)
    with pytest.raises(NoMatch, match="target"):
        begun.built.step(begun.state, begun.frozen, {"source": stream(1)}, KEY)
    with pytest.raises(NoMatch, match="to_target"):
        cyclegan({"to_targt": player(maker())}, shape=SHAPE)
    with pytest.raises(ValueError, match="pool=-1"):
        cyclegan(translators(), shape=SHAPE, pool=-1)
