"""AFN and BSP as terms: values, whose gradient, padding, leaks."""

import chex
import jax
import numpy as np
import pytest
from two_domains import STEPS, batch, loss, network, player, started, stream

from tl_jax.algorithms.adaptation import LeakedLabels, adapted
from tl_jax.algorithms.adaptation.feature_norms import bsp, hafn, safn
from tl_jax.losses.feature_norm import hard_norm, largest_singular, step_norm

KEY = jax.random.key(3)
TERMS = {
    "hafn": (hafn(0.3, 2.0), lambda f, w: 0.3 * hard_norm(f, w, 2.0)),
    "safn": (safn(0.2, 0.5), lambda f, w: 0.2 * step_norm(f, w, 0.5)),
    "bsp": (bsp(0.1, 2), lambda f, w: 0.1 * largest_singular(f, w, 2)),
}


def built(term, players):
    made = adapted(players, loss, {"it": term}, steps=STEPS)
    return made, *started(made, players)


@pytest.mark.parametrize("name", TERMS)
def test_both_domains_are_added_and_padding_is_not(name):
    term, measure = TERMS[name]
    players = {"model": player(network())}
    for padding in (0, 2):
        given = batch(padding=padding)
        made, state, frozen = built(term, players)
        after, metrics = jax.jit(made.step)(state, frozen, given, KEY)
        params = players["model"].plan.params
        want = sum(
            measure(network().apply(params, {}, s["inputs"])[0].features, s["weight"])
            for s in given.values()
        )
        np.testing.assert_allclose(metrics["term/it"], want, rtol=1e-5)
        eager, _ = made.step(state, frozen, given, KEY)
        chex.assert_trees_all_close(eager.train, after.train, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_the_body_moves_downhill_and_the_head_does_not(name):
    """Of the target alone there is no loss but the term."""
    term, measure = TERMS[name]
    players = {"model": player(network())}
    made, state, frozen = built(term, players)
    given = {"target": batch()["target"]}
    after, _ = jax.jit(made.step)(state, frozen, given, KEY)

    def value(params):
        outputs, _ = network().apply(params, {}, given["target"]["inputs"])
        return measure(outputs.features, given["target"]["weight"])

    before = players["model"].plan.params
    want = jax.tree.map(lambda p, g: p - 0.1 * g, before, jax.grad(value)(before))
    chex.assert_trees_all_close(after.train["model"], want, rtol=1e-4, atol=1e-6)
    for leaf, old in zip(
        jax.tree.leaves(after.train["model"]["head"]),
        jax.tree.leaves(before["head"]),
        strict=True,
    ):
        np.testing.assert_array_equal(leaf, old)
    if name == "safn":
        assert norm_of(after.train["model"], given) > norm_of(before, given)


def norm_of(params, given):
    outputs, _ = network().apply(params, {}, given["target"]["inputs"])
    return np.linalg.norm(outputs.features, axis=1).mean()


def test_labels_of_the_target_raise():
    players = {"model": player(network())}
    made, state, frozen = built(bsp(), players)
    with pytest.raises(LeakedLabels):
        made.step(state, frozen, batch() | {"target": stream(1, 8)}, KEY)


def test_mistakes_are_told():
    for make, words in (
        (lambda: hafn(-1), "hafn: strength is -1"),
        (lambda: hafn(radius=0), "hafn: radius is 0, expected more than 0"),
        (lambda: safn(delta=-1), "safn: delta is -1"),
        (lambda: bsp(k=0), "bsp: k is 0"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
