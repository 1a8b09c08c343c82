"""Teachers: averages of a student, and frozen ones whose labels are learnt."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_terms import EXAMPLES, KEY, LOGITS, STRONG, built, go, one_step, outputs
from two_domains import batch, network, player

from tl_jax.algorithms.adaptation import (
    adapted,
    mean_teacher,
    noisy,
    noisy_student,
    taught,
    taught_by,
    teacher_logits,
)
from tl_jax.algorithms.adaptation.mean_teacher import warmed
from tl_jax.transfer import chain, freeze, rate
from tl_jax.tree import merge

STILL = noisy(0.0)


def target(number=0):
    return batch(number)["target"]


def x_of(number=0):
    return target(number)["inputs"]["features"]


def softmax(logits):
    e = np.exp(np.float64(logits) - np.max(logits, -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_teacher_is_the_average_of_former_students():
    """At first the plain one, then by the decay; numbers by hand over five steps."""
    made, _, state, frozen = built({"own": mean_teacher(STRONG, decay=0.6)})
    teacher = jax.tree.map(np.float64, state.train["model"])
    for i in range(5):
        state, _ = go(made, state, frozen, i, 1)
        kept = min(0.6, 1 - 1 / (i + 1))
        teacher = jax.tree.map(
            lambda t, s, kept=kept: kept * t + (1 - kept) * np.float64(s),
            teacher,
            state.train["model"],
        )
        chex.assert_trees_all_close(
            jax.tree.map(np.float64, state.memory["teacher"]), teacher, rtol=1e-4
        )
    np.testing.assert_allclose(warmed(jnp.arange(4), 0.6), [0, 0.5, 0.6, 0.6])


def test_the_loss_is_the_squared_distance_to_the_teacher():
    """Without noise: of the student's and the teacher's shares, by NumPy."""
    term = mean_teacher(strength=3.0, decay=0.6, grows=0.5)
    made, _, state, frozen = built({"own": term})
    state, _ = go(made, state, frozen, 0, 3)
    x = target(3)["inputs"]["features"]
    p = softmax(outputs(state.train["model"], x).logits)
    q = softmax(outputs(state.memory["teacher"], x).logits)
    _, metrics = go(made, state, frozen, 3, 1)
    rise = np.exp(-5 * (1 - (3 / 20) / 0.5) ** 2)
    wanted = 3.0 * rise * ((p - q) ** 2).sum(1).mean()
    np.testing.assert_allclose(metrics["term/own"], wanted, rtol=1e-4)
    assert wanted > 0
    agree = (p.argmax(1) == q.argmax(1)).mean()
    np.testing.assert_allclose(metrics["own/agree"], agree, rtol=1e-6)


def test_a_teacher_holds_what_moves_and_predicts():
    """Frozen leaves are nobody's copy; predictions are of both together."""
    change = chain(freeze(".*"), rate("head/.*", 1.0))
    players = {"model": player(network(), change=change)}
    made, _, state, frozen = built({"own": mean_teacher(STRONG)}, players)
    state, _ = go(made, state, frozen, 0, 4)
    teacher = state.memory["teacher"]
    assert len(jax.tree.leaves(teacher)) == len(jax.tree.leaves(state.train)) == 2
    whole = merge(teacher, frozen["model"])
    query = {"query": {"inputs": target()["inputs"]}}
    found = taught(made).predict(state, frozen, query).logits
    wanted = outputs(whole, target()["inputs"]["features"]).logits
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (found != made.predict(state, frozen, query).logits).any()


def test_the_first_teacher_agrees_with_its_student():
    """It is the student: a distance of 0 without noise, and no slope."""
    bare, _ = go(*pick(built({})), 0, 1)
    _, after, metrics = one_step({"own": mean_teacher(None, STILL, grows=0.0)})
    np.testing.assert_allclose(metrics["term/own"], 0, atol=1e-12)
    assert metrics["own/agree"] == 1
    alone, _ = go(*pick(built({"own": mean_teacher(STRONG, grows=0.0)})), 0, 1)
    far = [
        max(
            np.abs(np.asarray(a) - b).max()
            for a, b in zip(
                jax.tree.leaves(other.train), jax.tree.leaves(bare.train), strict=True
            )
        )
        for other in (after, alone)
    ]
    assert far[0] < 1e-6 < 1e-4 < far[1]


def pick(made):
    """(algorithm, state, frozen) of what `built` gives."""
    return made[0], made[2], made[3]


def test_given_labels_are_learnt_softly_under_noise():
    made, _, state, frozen = built({"own": taught_by(LOGITS, STILL, temperature=2.0)})
    x = target()["inputs"]["features"]
    p = softmax(outputs(state.train["model"], x).logits / 2)
    q = softmax(LOGITS / 2)
    _, metrics = go(made, state, frozen, 0, 1)
    np.testing.assert_allclose(
        metrics["term/own"], -(q * np.log(p)).sum(1).mean(), rtol=1e-5
    )
    np.testing.assert_array_equal(state.memory["terms"]["own"]["logits"], LOGITS)


def test_labels_that_are_not_sure_count_nothing():
    q = softmax(LOGITS)
    sure = q.max(1) >= 0.6
    assert 0 < sure.sum() < len(q)
    _, _, metrics = one_step({"own": taught_by(LOGITS, STILL, threshold=0.6)})
    state = built({})[2]
    p = softmax(outputs(state.train["model"], target()["inputs"]["features"]).logits)
    wanted = -(q * np.log(p)).sum(1)[sure].sum() / len(q)
    np.testing.assert_allclose(metrics["term/own"], wanted, rtol=1e-5)


@pytest.mark.parametrize("rows", [5, EXAMPLES])
def test_rows_that_no_teacher_saw_give_nan(rows):
    known = LOGITS[:rows]
    if rows == EXAMPLES:
        known = known.at[3].set(jnp.nan)
    _, _, metrics = one_step({"own": taught_by(known, STILL)})
    assert np.isnan(metrics["loss"])


def test_a_teacher_says_what_its_student_learns():
    """Two phases: a teacher trained on the source, then a fresh student under noise."""
    made, _, state, frozen = built({})
    state, _ = go(made, state, frozen, 0, 3)
    streams = []
    for rows in ((0, 3, 5, 6), (7, 1, 2, 4, 0)):
        rows = jnp.asarray(rows)
        x = target()["inputs"]["features"][rows]
        weight = jnp.ones(len(rows)).at[-1].set(len(rows) == 4)  # then a padded row
        index = jnp.where(weight > 0, rows, -1)
        streams.append({"inputs": {"features": x}, "weight": weight, "index": index})
    logits = teacher_logits(jax.jit(made.predict), state, frozen, streams, 9)
    wanted = outputs(state.train["model"], target()["inputs"]["features"]).logits
    np.testing.assert_allclose(logits[:8], wanted, rtol=1e-5, atol=1e-6)
    assert np.isnan(logits[8]).all()
    fresh = {"model": player(network(), seed=7)}
    term = taught_by(logits, noisy(0.05))
    student = adapted(fresh, lambda o, s: 0 * o.logits[:, 0], {"own": term}, steps=400)
    own, still = student.init(KEY, fresh)
    step = jax.jit(student.step)
    for i in range(400):
        own, _ = step(own, still, batch(), jax.random.fold_in(KEY, i))
    said = student.predict(own, still, {"query": {"inputs": target()["inputs"]}}).logits
    wanted = softmax(wanted)
    before = softmax(outputs(fresh["model"].plan.params, x_of()).logits)
    far, begun = (np.abs(softmax(said) - wanted).max(), np.abs(before - wanted).max())
    assert far < 0.15 < begun
    with pytest.raises(ValueError, match="index 7, expected below 7"):
        teacher_logits(made.predict, state, frozen, streams, 7)
    with pytest.raises(ValueError, match="no streams"):
        teacher_logits(made.predict, state, frozen, [], 7)


def test_ones_own_teacher_stands_still_from_its_time_on():
    """At a fifth of 20 steps, step 4, it is the student as it stands; then it stays."""
    made, _, state, frozen = built({"own": noisy_student(STILL, begin=0.2)})
    for i in range(6):
        before = state
        state, metrics = go(made, before, frozen, i, 1)
        kept = state.memory["terms"]["own"]
        if i < 4:
            assert metrics["term/own"] == 0
            assert not kept["taken"]
        if i == 4:
            chex.assert_trees_all_equal(kept["params"], before.train["model"])
            p = softmax(
                outputs(before.train["model"], target(4)["inputs"]["features"]).logits
            )
            entropy = -(p * np.log(p)).sum(1).mean()  # it is its own teacher still
            np.testing.assert_allclose(metrics["term/own"], entropy, rtol=1e-5)
            first = kept
    assert kept["taken"]
    chex.assert_trees_all_equal(kept, first)
    assert any(
        (a != b).any()
        for a, b in zip(
            jax.tree.leaves(kept["params"]), jax.tree.leaves(state.train), strict=True
        )
    )


def test_ones_own_teacher_keeps_its_statistics_too():
    players = {"model": player(network(batch_norms=True))}
    term = noisy_student(STRONG, begin=0.1)
    made, _, state, frozen = built({"own": term}, players)
    state, _ = go(made, state, frozen, 0, 2)
    taken = state.memory["stats"]["model"]
    state, _ = go(made, state, frozen, 2, 3)
    kept = state.memory["terms"]["own"]["stats"]
    chex.assert_trees_all_equal(kept, taken)
    now = state.memory["stats"]["model"]["blocks/0/norm"].mean
    assert (now != taken["blocks/0/norm"].mean).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mean_teacher(strength=-1), "mean_teacher: strength is -1"),
        (lambda: mean_teacher(decay=1.5), "decay is 1.5"),
        (lambda: mean_teacher(grows=-1), "grows is -1"),
        (lambda: noisy_student(STILL, begin=2), "begin is 2"),
        (lambda: noisy_student(STILL, temperature=0), "temperature is 0"),
        (lambda: taught_by(LOGITS, STILL, threshold=3), "taught_by: threshold is 3"),
    ],
)
def test_numbers_out_of_range_raise_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()
