"""Every learner by name: its players are cast, its steps and predictions trace."""

import jax
import numpy as np
import pytest
from tiny_episodes import learner, pictures

from experiments.algorithms import PLAYER, Setting
from experiments.learner_table import LEARNERS
from experiments.strategies import make_strategy
from experiments.tasks import make_task
from tl_jax.models import mlp
from tl_jax.transfer import context, full
from tl_jax.tree import flatten
from tl_jax.types import Player

MORE = {
    "simpleshot": {"prepare": "L2N"},
    "baseline": {"ways": 2, "kind": "cosine"},
}
"""Learner -> arguments that it has no default for."""


def made(name, **more):
    """(recipe, players, algorithm) of a learner on vectors, two ways."""
    config = pictures("none", one=learner(name, **MORE.get(name, {}) | more))
    config.task = LEARNERS[name].of[0]
    (phase,) = make_strategy("one", config).phases
    model = mlp(3, (4,), classes=2)
    plan = full(*model.init(jax.random.key(0)))
    if name == "oracle":
        plan = context(1, "blocks/0")(jax.random.key(2), plan)
    cast = phase.recipe.cast(jax.random.key(1), Player(model, plan, phase.tx(0)))
    setting = Setting(make_task(config.task, ("a", "b")), ways=2)
    return phase.recipe, cast, phase.recipe.make(setting, cast)


def side(rows):
    """Three tasks' sets of two classes."""
    return {
        "inputs": {
            "features": np.ones((3, rows, 3), np.float32),
            "told": np.ones((3, rows, 1), np.float32),
        },
        "labels": np.tile(np.arange(rows, dtype=np.int32) % 2, (3, 1)),
        "weight": np.ones((3, rows), np.float32),
        "index": np.zeros((3, rows), np.int32),
    }


@pytest.mark.parametrize("name", LEARNERS)
def test_it_trains_and_predicts(name):
    _, cast, algorithm = made(name)
    state, frozen = algorithm.init(jax.random.key(0), cast)
    batch = {"support": side(2), "query": side(4)}
    if LEARNERS[name].of[0] == "fewshot_regression":
        for own in batch.values():
            own["labels"] = np.ones((*own["labels"].shape, 2), np.float32)
    args = state, frozen, batch
    after, metrics = jax.eval_shape(algorithm.step, *args, jax.random.key(0))
    assert metrics["loss"].shape == ()
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)
    assert jax.eval_shape(algorithm.predict, *args).logits.shape == (3, 4, 2)


def test_rates_are_learned_of_the_player_that_moves():
    _, cast, _ = made("baseline", inner={"learned": "elements"})
    rates = flatten(cast["rates"].plan.params)
    assert set(rates) == set(flatten(cast["readout"].plan.params)) == {"kernel"}
    _, cast, _ = made("maml", inner={"learned": "elements"})
    known = flatten(cast[PLAYER].plan.params)
    assert set(flatten(cast["rates"].plan.params)) == set(known)


def test_a_last_layer_without_ways_names_its_place():
    config = pictures("none", one=learner("baseline"))
    with pytest.raises(ValueError, match=r"config\.strategies\.one\.learner: .*`ways`"):
        make_strategy("one", config)
