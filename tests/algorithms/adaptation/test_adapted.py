"""The core of adaptation: streams, terms, what they see, keep and never see."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from two_domains import STEPS, batch, critic, loss, network, player, started, stream

from tl_jax.algorithms import ema, supervised
from tl_jax.algorithms.adaptation import (
    Found,
    LeakedLabels,
    Term,
    adapted,
    forward,
    sealed,
)
from tl_jax.tree import NoMatch

KEY = jax.random.key(3)


def one_step(terms=None, given=None, players=None, **how):
    players = {"model": player(network())} if players is None else players
    built = adapted(players, loss, terms or {}, steps=STEPS, **how)
    state, frozen = started(built, players)
    return state, *jax.jit(built.step)(state, frozen, given or batch(), KEY)


def test_without_terms_it_is_supervised_training():
    _, after, metrics = one_step()
    players = {"model": player(network())}
    plain = supervised(players, loss)
    state, frozen = started(plain, players)
    wanted, told = plain.step(state, frozen, {"train": batch()["source"]}, KEY)
    chex.assert_trees_all_close(after.train, wanted.train, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["loss"], told["loss"], rtol=1e-6)


def test_rows_count_by_importance_and_weight():
    given = batch(padding=2)
    own = jnp.asarray([0.5, 2.0, 1.0, 0.0, 7.0, 7.0])
    inputs = given["source"]["inputs"] | {"importance": own}
    given["source"] = given["source"] | {"inputs": inputs}
    _, after, metrics = one_step(given=given)
    model = network()
    params = player(model).plan.params
    outputs, _ = model.apply(params, {}, given["source"]["inputs"])
    each = np.asarray(loss(outputs, given["source"]))
    weight = np.asarray(own * given["source"]["weight"])
    wanted = sum(w * c for w, c in zip(weight, each, strict=True)) / weight.sum()
    np.testing.assert_allclose(metrics["supervised"], wanted, rtol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.train))


def test_terms_add_up_and_see_both_sides():
    seen = {}

    def gap(given):
        seen["shapes"] = [
            s.outputs.features.shape for s in (given.source, given.target)
        ]
        seen["labels"] = "labels" in given.target.stream
        far = given.source.outputs.features.mean(
            0
        ) - given.target.outputs.features.mean(0)
        return jnp.square(far).sum()

    terms = {
        "gap": Term(gap),
        "twice": Term(lambda s: Found(2 * gap(s), metrics={"p": s.progress})),
    }
    _, _, metrics = one_step(terms)
    assert seen == {"shapes": [(6, 5), (8, 5)], "labels": False}
    total = metrics["supervised"] + metrics["term/gap"] + metrics["term/twice"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
    np.testing.assert_allclose(metrics["term/twice"], 2 * metrics["term/gap"])
    assert metrics["twice/p"] == 0


def test_progress_is_data_that_goes_on_where_it_stopped():
    terms = {
        "p": Term(lambda seen: Found(jnp.float32(0), metrics={"p": seen.progress}))
    }
    players = {"model": player(network())}
    built = adapted(players, loss, terms, steps=4)
    state, frozen = started(built, players)
    step, shown = jax.jit(built.step), []
    for _ in range(6):
        state, metrics = step(state, frozen, batch(), KEY)
        shown.append(float(metrics["p/p"]))
    assert shown == [0, 0.25, 0.5, 0.75, 1, 1]
    assert state.memory["adaptation"] == 6


def test_a_term_keeps_what_it_returns_and_others_what_they_had():
    count = Term(
        lambda seen: Found(jnp.float32(0), {"n": seen.own["n"] + 1}),
        lambda key, players: {"n": jnp.int32(5)},
    )
    still = Term(lambda s: s.own["n"] * 0.0, lambda key, players: {"n": jnp.int32(9)})
    _, after, _ = one_step(
        {"count": count, "still": still, "bare": Term(lambda s: 0.0)}
    )
    chex.assert_trees_all_equal(
        after.memory["terms"], {"count": {"n": 6}, "still": {"n": 9}}
    )


def test_other_players_are_run_and_their_statistics_move():
    def value(seen):
        both = jnp.concatenate([s.outputs.features for s in (seen.source, seen.target)])
        outputs, moved = seen.run("critic", {"features": both})
        return Found(jnp.square(outputs.logits).mean(), stats={"critic": moved})

    players = {
        "model": player(network()),
        "critic": player(critic(batch_norms=True), seed=1),
    }
    before, after, _ = one_step({"critic": Term(value)}, players=players)
    for name in players:
        gone = jax.tree.map(
            lambda a, b: bool((a != b).any()), before.train[name], after.train[name]
        )
        assert any(jax.tree.leaves(gone)), name
    was, now = (s.memory["stats"]["critic"]["blocks/0/norm"] for s in (before, after))
    assert (was.mean != now.mean).any()


def test_streams_are_prepared_before_the_forward_pass():
    def swap(before, given):
        inputs = {"features": given["target"]["inputs"]["features"][:6]}
        return given | {"source": given["source"] | {"inputs": inputs}}

    _, _, metrics = one_step({"swap": Term(lambda seen: 0.0, prepare=swap)})
    given = batch()
    outputs, _ = network().apply(
        player(network()).plan.params,
        {},
        {"features": given["target"]["inputs"]["features"][:6]},
    )
    wanted = loss(outputs, given["source"]).mean()
    np.testing.assert_allclose(metrics["supervised"], wanted, rtol=1e-5)


def test_stages_of_a_term_follow_the_descent():
    teacher = Term(
        lambda s: 0.0, stages=lambda players: (ema("model", "teacher", 0.5),)
    )
    before, after, _ = one_step({"teacher": teacher})
    wanted = jax.tree.map(
        lambda a, b: (a + b) / 2, before.train["model"], after.train["model"]
    )
    chex.assert_trees_all_close(after.memory["teacher"], wanted, rtol=1e-5, atol=1e-7)


def test_opened_labels_join_the_loss():
    given = batch(labelled=True)
    _, _, metrics = one_step(given=given, labelled=True)
    model = network()
    params, each = player(model).plan.params, []
    for name in ("source", "target_labelled"):
        outputs, _ = model.apply(params, {}, given[name]["inputs"])
        each += list(np.asarray(loss(outputs, given[name])))
    np.testing.assert_allclose(metrics["supervised"], np.mean(each), rtol=1e-5)


def test_labels_that_nobody_opened_raise():
    leaked = batch() | {"target": stream(1, 8)}
    with pytest.raises(LeakedLabels, match="'target' brings labels"):
        one_step(given=leaked)
    with pytest.raises(LeakedLabels, match="nobody opened it"):
        one_step(given=batch(labelled=True))
    with pytest.raises(NoMatch, match="target_labelled"):
        sealed({"target_labeled": {}})
    with pytest.raises(NoMatch, match="target"):
        sealed({"source": {}}, needs=("target",))


def test_without_a_source_terms_alone_count():
    terms = {"shrink": Term(lambda s: jnp.square(s.target.outputs.features).mean())}
    _, _, metrics = one_step(terms, given={"target": batch()["target"]})
    assert metrics["supervised"] == 0
    assert metrics["loss"] == metrics["term/shrink"] > 0


def test_domains_share_batch_statistics_or_have_their_own():
    model = network(batch_norms=True)
    params, stats = model.init(KEY)
    given = batch()
    joint, moved = forward(model, params, stats, given, None)
    whole = jnp.concatenate([given[n]["inputs"]["features"] for n in given])
    outputs, wanted = model.apply(params, stats, {"features": whole}, norm="batch")
    np.testing.assert_allclose(joint["target"].outputs.logits, outputs.logits[6:])
    chex.assert_trees_all_close(moved, wanted)
    apart, moved = forward(model, params, stats, given, None, joint=False)
    alone, first = model.apply(params, stats, given["source"]["inputs"], norm="batch")
    np.testing.assert_allclose(apart["source"].outputs.logits, alone.logits)
    _, wanted = model.apply(params, first, given["target"]["inputs"], norm="batch")
    chex.assert_trees_all_close(moved, wanted)


def test_texts_of_two_lengths_pass_together(tiny_bert, tokens):
    cut = {name: leaf[1:, :7] for name, leaf in tokens.items()}
    given = {
        name: {"inputs": inputs, "weight": np.ones(len(inputs["mask"]))}
        for name, inputs in (("source", tokens), ("target", cut))
    }
    model, params = tiny_bert.model, tiny_bert.params
    joint, _ = forward(model, params, {}, given, None)
    apart, _ = forward(model, params, {}, given, None, joint=False)
    for name, side in joint.items():
        assert side.stream["inputs"]["mask"].shape[1] == 11
        np.testing.assert_allclose(
            side.outputs.features, apart[name].outputs.features, atol=2e-6
        )


def test_domains_of_other_shapes_raise():
    given = batch()
    given["target"] = given["target"] | {"inputs": {"features": jnp.ones((8, 3))}}
    with pytest.raises(ValueError, match=r"'features'.*\[4\].*\[3\]"):
        forward(network(), player(network()).plan.params, {}, given, None)
