"""Runs that stop in the middle of thresholds, statistics and teachers, and go on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_terms import EXAMPLES, STRONG, TERMS, built, go
from two_domains import network, player

from tl_jax import checkpoint
from tl_jax.algorithms.adaptation import flexmatch, mcc, pseudo_labels
from tl_jax.optim import adamw

KEEPING = (
    *("pseudo_labels", "fixmatch", "flexmatch", "mean_teacher"),
    *("noisy_student", "taught_by", "pada"),
)
"""Terms that keep something, or whose strength is of the time."""


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def saved(folder, state):
    """The state as another process would read it."""
    with checkpoint.open(folder) as store:
        store.save(int(state.step), {"state": state}, {})
    shapes = jax.tree.map(jnp.zeros_like, state)
    with checkpoint.open(folder) as store:
        return store.restore({"state": shapes}).tree["state"]


def players():
    return {"model": player(network(batch_norms=True, rate=0.2), adamw(1e-2))}


@pytest.mark.parametrize("name", KEEPING)
def test_a_stopped_run_goes_on_to_the_same_bits(name, tmp_path):
    """Seven steps, or three, a checkpoint and four: with dropout and batch norm."""
    terms = {"own": TERMS[name](), "other": mcc(0.1)}
    made, _, state, frozen = built(terms, players())
    whole, _ = go(made, state, frozen, 0, 7)
    half, _ = go(made, state, frozen, 0, 3)
    again, _, _, still = built({"own": TERMS[name](), "other": mcc(0.1)}, players())
    rest, _ = go(again, saved(tmp_path, half), still, 3, 4)
    assert bits(rest) == bits(whole)
    assert bits(half) != bits(whole)


@pytest.mark.parametrize("what", ["labels", "teacher", "clock"])
def test_what_is_forgotten_is_missed(what, tmp_path):
    """The comparison above can fail: without its memory a run ends elsewhere."""
    name = "mean_teacher" if what == "teacher" else "flexmatch"
    term = flexmatch(STRONG, EXAMPLES, threshold=0.5) if name == "flexmatch" else None
    terms = {"own": term or TERMS[name](), "late": TERMS["pseudo_labels"]()}
    if what == "clock":
        terms["late"] = pseudo_labels(1.0, 0.0, begin=0.0, end=0.5)
    made, _, state, frozen = built(terms, players())
    whole, _ = go(made, state, frozen, 0, 7)
    half, _ = go(made, state, frozen, 0, 3)
    memory, fresh = dict(half.memory), state.memory
    if what == "labels":
        memory["terms"] = fresh["terms"]
    else:
        place = {"teacher": "teacher", "clock": "adaptation"}[what]
        memory[place] = fresh[place]
    rest, _ = go(made, half._replace(memory=memory), frozen, 3, 4)
    assert bits(rest.train) != bits(whole.train)
