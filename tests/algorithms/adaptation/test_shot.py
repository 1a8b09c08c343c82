"""SHOT as a term: its loss, what it remembers, refreshes, resume, leaks."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_domains import CLASSES, WIDTH, loss, network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels, adapted
from tl_jax.algorithms.adaptation.shot import shot
from tl_jax.losses.centroids import centroid_labels
from tl_jax.losses.confusion import information_loss
from tl_jax.transfer import freeze
from tl_jax.tree import NoMatch, merge

KEY = jax.random.key(0)
HEAD = freeze("head/.*")


def part(k, rows=4):
    """Rows 4k to 4k + 3 of a target of 12; the last two of the third are padding."""
    whole = stream(1, 12, 1.0, labels=False)
    whole["index"] = jnp.asarray([3, 1, 2, 0, 4, 5, 6, 7, 9, 8, 5, 5])
    whole["weight"] = jnp.asarray([1.0] * 10 + [0, 0])
    return {"target": jax.tree.map(lambda leaf: leaf[4 * k : 4 * k + rows], whole)}


def started_with(**how):
    players = {"model": player(network(), change=HEAD)}
    built = adapted(players, loss, {"shot": shot(10, 3, **how)}, steps=9)
    return built, *started(built, players)


def outputs_of(state, frozen, k):
    params = merge(state.train["model"], frozen["model"])
    return network().apply(params, {}, part(k)["target"]["inputs"])[0]


def test_the_first_period_has_information_alone():
    built, state, frozen = started_with(strength=0.3, information=0.7)
    step = jax.jit(built.step)
    for k in range(3):
        before = outputs_of(state, frozen, k)
        weight = part(k)["target"]["weight"]
        state, metrics = step(state, frozen, part(k), KEY)
        want = 0.7 * information_loss(before.logits, weight)
        np.testing.assert_allclose(metrics["loss"], want, rtol=1e-5, atol=1e-6)
        assert metrics["shot/labelled"] == 0
        own, real = state.memory["terms"]["shot"], weight > 0
        places = part(k)["target"]["index"][real]
        np.testing.assert_allclose(
            own["features"][places], before.features[real], rtol=1e-5
        )
        shares = jax.nn.softmax(before.logits[real])
        np.testing.assert_allclose(own["shares"][places], shares, rtol=1e-5)
    np.testing.assert_array_equal(own["seen"], np.ones(10))
    np.testing.assert_array_equal(own["labels"], np.full(10, -1))


def after(built, state, frozen, first, last):
    step = jax.jit(built.step)
    for t in range(first, last):
        state, metrics = step(state, frozen, part(t % 3), jax.random.key(t))
    return state, metrics


def test_then_labels_are_of_what_was_seen():
    built, state, frozen = started_with(strength=0.3)
    state, _ = after(built, state, frozen, 0, 3)
    own = state.memory["terms"]["shot"]
    labels = centroid_labels(own["features"], own["shares"], own["seen"])
    before = outputs_of(state, frozen, 2)
    weight = part(2)["target"]["weight"]
    now, metrics = jax.jit(built.step)(state, frozen, part(2), KEY)
    np.testing.assert_array_equal(now.memory["terms"]["shot"]["labels"], labels)
    total = 0.0
    for i in range(2):
        row = np.asarray(before.logits[i], np.float64)
        p = np.exp(row) / np.exp(row).sum()
        total -= np.log(p[int(labels[part(2)["target"]["index"][i]])])
    want = information_loss(before.logits, weight) + 0.3 * total / 2
    np.testing.assert_allclose(metrics["loss"], want, rtol=1e-5)
    assert metrics["shot/labelled"] == 1
    later, _ = after(built, now, frozen, 4, 6)
    kept = later.memory["terms"]["shot"]["labels"]
    np.testing.assert_array_equal(kept, labels)


def test_rows_that_nobody_saw_have_no_label():
    built, state, frozen = started_with()
    step = jax.jit(built.step)
    for _ in range(3):
        state, _ = step(state, frozen, part(0), KEY)
    state, metrics = step(state, frozen, part(1), KEY)
    assert metrics["shot/labelled"] == 0
    state, metrics = step(state, frozen, part(0), KEY)
    assert metrics["shot/labelled"] == 1
    far = part(0)
    far["target"]["index"] = jnp.asarray([10, -1, 99, 0])
    _, metrics = step(state, frozen, far, KEY)
    assert metrics["shot/labelled"] == 0.25


def test_values_are_the_authors(golden):
    """But for the 1e-5 that they add inside the logarithm."""
    with np.load(golden / "test_time.npz") as file:
        logits = jnp.asarray(file["shot/logits"])
        theirs = file["shot/entropy"] - file["shot/diversity"]
    got = information_loss(logits, jnp.ones(len(logits)))
    np.testing.assert_allclose(got, theirs, atol=1e-4)


def test_the_hypothesis_stays_and_the_body_moves():
    built, state, frozen = started_with()
    now, _ = after(built, state, frozen, 0, 4)
    assert set(now.train["model"]["head"].values()) == {None}
    assert (
        now.train["model"]["blocks"]["0"]["kernel"]
        != state.train["model"]["blocks"]["0"]["kernel"]
    ).any()
    query = {"query": part(0)["target"]}
    logits = built.predict(now, frozen, query).logits
    assert logits.shape == (4, CLASSES)
    assert now.memory["terms"]["shot"]["features"].shape == (10, WIDTH)


def test_it_goes_on_bit_by_bit_between_refreshes():
    built, state, frozen = started_with()
    whole, _ = after(built, state, frozen, 0, 8)
    half, _ = after(built, state, frozen, 0, 4)
    leaves, shape = jax.tree.flatten(half)
    half = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(x)) for x in leaves])
    again, _ = after(built, half, frozen, 4, 8)
    chex.assert_trees_all_equal(again, whole)


def test_eager_compiled_and_vmapped_steps_agree():
    built, state, frozen = started_with()
    state, _ = after(built, state, frozen, 0, 3)
    eager, _ = built.step(state, frozen, part(0), KEY)
    fast, _ = jax.jit(built.step)(state, frozen, part(0), KEY)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    many, _ = jax.vmap(built.step, (0, None, None, None))(two, frozen, part(0), KEY)
    chex.assert_trees_all_close(eager.train, fast.train, rtol=1e-4, atol=1e-6)
    got = jax.tree.map(lambda leaf: leaf[1], many.train)
    chex.assert_trees_all_close(got, fast.train, rtol=1e-4, atol=1e-6)


def test_mistakes_are_told():
    built, state, frozen = started_with()
    with pytest.raises(LeakedLabels):
        built.step(state, frozen, {"target": stream(1, 4)}, KEY)
    players = {"model": player(network())}
    with pytest.raises(ValueError, match=r"'head/bias' moves.*freeze\('head/"):
        adapted(players, loss, {"shot": shot(10, 3)}, steps=9)
    with pytest.raises(NoMatch, match="shot: head 'haed'.*head"):
        adapted(players, loss, {"shot": shot(10, 3, head="haed")}, steps=9)
    for make, words in (
        (lambda: shot(0, 3), "examples is 0"),
        (lambda: shot(10, 2.5), "period is 2.5"),
        (lambda: shot(10, 3, -1.0), "strength is -1"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
