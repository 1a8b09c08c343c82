"""Few labels of the target: minimax entropy, labelled pairs, tuning after adapting."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_terms import KEY, built, go, one_step, outputs
from two_domains import batch, loss, network, player

from tl_jax.algorithms import current, replan, supervised
from tl_jax.algorithms.adaptation import adapted, ccsa, entropy_minimisation, mcc, mme
from tl_jax.losses import semantic_alignment
from tl_jax.losses.adversarial import entropy
from tl_jax.transfer import cosine_head
from tl_jax.tree import NoMatch, flatten


def directed():
    """A player whose head says directions."""
    return {"model": player(network(), change=cosine_head(0.5))}


def slopes(players, terms):
    """What one step of SGD at rate 0.1 took for the terms alone, by path."""
    found = []
    for given in ({}, terms):
        made, _, state, frozen = built(given, players)
        after, _ = go(made, state, frozen, 0, 1)
        found.append(flatten(after.train["model"]))
    return {path: (found[0][path] - found[1][path]) / 0.1 for path in found[0]}


def test_the_head_raises_entropy_and_the_body_lowers_it():
    """Gradients of the plain entropy: turned round for the head, by its reversal."""
    players = directed()
    params = players["model"].plan.params
    x = batch()["target"]["inputs"]["features"]
    own = flatten(jax.grad(lambda p: entropy(outputs(p, x).logits).mean())(params))
    found = slopes(players, {"own": mme(0.4, reversal=2.0)})
    assert set(found) == set(own)
    for path, slope in own.items():
        factor = -0.8 if path.startswith("head/") else 0.4
        np.testing.assert_allclose(found[path], factor * slope, atol=2e-6)
    assert any((np.abs(slope) > 1e-3).any() for slope in own.values())


def test_without_reversal_the_head_stands_still():
    found = slopes(directed(), {"own": mme(0.4, reversal=0.0)})
    np.testing.assert_allclose(found["head/kernel"], 0, atol=1e-6)
    plain = slopes(directed(), {"own": entropy_minimisation(0.4)})
    for path in found:
        if not path.startswith("head/"):
            np.testing.assert_allclose(found[path], plain[path], atol=2e-6)


def test_pairs_are_of_the_source_and_the_opened_rows():
    given = batch(labelled=True)
    params = player(network()).plan.params
    one, other = (
        outputs(params, given[name]["inputs"]["features"]).features
        for name in ("source", "target_labelled")
    )
    wanted = semantic_alignment(
        one,
        given["source"]["labels"],
        other,
        given["target_labelled"]["labels"],
        margin=3.0,
    )
    _, _, metrics = one_step({"own": ccsa(0.5, 3.0)}, given, labelled=True)
    np.testing.assert_allclose(metrics["term/own"], 0.5 * wanted, rtol=1e-5)
    assert wanted > 0
    with pytest.raises(ValueError, match="'target_labelled'; open it"):
        one_step({"own": ccsa()}, labelled=True)


def test_tuning_after_adaptation_is_a_second_phase():
    """First terms over both domains, then labelled rows alone, from the same weights.

    What moved stays, optimisers go on, and the second phase never reads the first's
    memory: its step is one of supervised training.
    """
    made, players, state, frozen = built({"own": mcc()})
    state, _ = go(made, state, frozen, 0, 3)
    now = {"model": current(players["model"], "model", state, frozen)}
    tuning = adapted(now, loss, {}, steps=5, labelled=True, clock="tuning")
    second, still = replan(tuning, KEY, now, state)
    chex.assert_trees_all_equal(second.train, state.train)
    assert second.step == 3
    few = {"target_labelled": batch(labelled=True)["target_labelled"]}
    after, metrics = jax.jit(tuning.step)(second, still, few, KEY)
    plain = supervised(now, loss)
    wanted, told = plain.step(
        *plain.init(KEY, now), {"train": few["target_labelled"]}, KEY
    )
    chex.assert_trees_all_close(after.train, wanted.train, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["loss"], told["loss"], rtol=1e-6)
    assert after.memory["tuning"] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mme(-1), "mme: strength is -1"),
        (lambda: mme(reversal=float("inf")), "mme: reversal is inf"),
        (lambda: mme(head="("), "no regular expression"),
        (lambda: ccsa(margin=-1), "ccsa: margin is -1"),
        (lambda: cosine_head(0.0), "temperature is 0"),
    ],
)
def test_numbers_out_of_range_raise_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_head_that_is_not_there_raises():
    with pytest.raises(NoMatch, match=r"mme: head.*'haed/\.\*'.*head/"):
        built({"own": mme(head="haed/.*")})
    with pytest.raises(NoMatch, match=r"'haed'.*head"):
        player(network(), change=cosine_head(where="haed"))


def test_cosine_heads_say_directions():
    """w_c f / (|f| T), whatever the features' length; nothing of features of 0."""
    plan = directed()["model"].plan
    assert set(plan.params["head"]) == {"kernel", "patch"}
    assert set(flatten(plan.rates)) == set(flatten(plan.params))
    kernel = plan.params["head"]["kernel"]
    found = outputs(plan.params, jnp.ones((1, 4)))
    f = np.float64(found.features[0])
    wanted = f @ np.float64(kernel) / np.linalg.norm(f) / 0.5
    np.testing.assert_allclose(found.logits[0], wanted, rtol=1e-5)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, plan.params["blocks"]["1"])
    blocks = plan.params["blocks"] | {"1": doubled}
    longer = outputs(plan.params | {"blocks": blocks}, jnp.ones((1, 4)))
    np.testing.assert_allclose(longer.features, 2 * found.features, rtol=1e-5)
    np.testing.assert_allclose(longer.logits, found.logits, rtol=1e-5)
