"""Every method of the table: what it is given, and labels that it never sees."""

import jax
import numpy as np
import optax
import pytest

from configs import base
from experiments.algorithms import Setting, algorithm_of
from experiments.shift.methods import METHODS
from experiments.shift.recipes import adaptation
from experiments.tasks import make_task
from tl_jax.algorithms.adaptation import TARGET, LeakedLabels
from tl_jax.models import conv4
from tl_jax.transfer import batch_norms, chain, freeze, full, new_head
from tl_jax.types import Player

CLASSES, SIZE = 3, 16
STRONG = {"strong": {"augment": "rand_augment"}}
SPECIAL: dict[str, dict] = {
    "adabn": {"period": 2},
    "cycada": {"size": SIZE},
    "shot": {"examples": 6, "period": 2},
    "irm": {"domains": 3},
    "vrex": {"domains": 3},
    "group_dro": {"domains": 3},
    "mixup_domains": {"domains": 3},
    "fixmatch": STRONG,
    "flexmatch": STRONG | {"examples": 12},
    "noisy_student": {"noise": {"augment": "noisy", "field": "image", "std": 9.0}},
}
"""Method -> arguments that it can't do without."""
NORMS = ("tent",)
"""Methods of plans in which norms move alone."""
HEADS = ("shot",)
"""Methods of plans whose head stays."""


def streams(labelled):
    rng = np.random.default_rng(0)

    def stream(rows, labels=True):
        made = {
            "inputs": {
                "image": rng.random((rows, SIZE, SIZE, 1)).astype(np.float32),
                "domain": np.arange(rows, dtype=np.int32) % 3,
            },
            "weight": np.ones(rows, np.float32),
            "index": np.arange(rows),
        }
        return made | ({"labels": rng.integers(0, CLASSES, rows)} if labels else {})

    given = {"source": stream(6), "target": stream(6, labels=False)}
    return given | ({"target_labelled": stream(3)} if labelled else {})


def built(name):
    """(state, frozen, batch, the algorithm) of a method with its own defaults."""
    config, entry = base.get_config(), METHODS[name]
    config.shift.target = "far"
    recipe = adaptation({name: SPECIAL.get(name, {})}, "adapt", config)
    key, model = jax.random.key(0), conv4(channels=1, filters=4, size=SIZE)
    plan = new_head(CLASSES, model.width)(key, full(*model.init(key)))
    if name in NORMS:
        plan = chain(freeze(".*"), batch_norms())(key, plan)
    if name in HEADS:
        plan = freeze("head/.*")(key, plan)
    players = recipe.cast(key, Player(model, plan, optax.sgd(0.01)))
    task = make_task("classification", tuple("abc"))
    setting = Setting(task, steps=10, opened=entry.labelled)
    made = algorithm_of(recipe.make, setting, players)
    state, frozen = made.init(key, players)
    batch = streams(entry.labelled)
    if recipe.batches == TARGET:
        batch = {TARGET: batch[TARGET]}
    return state, frozen, batch, made


@pytest.mark.parametrize("name", METHODS)
def test_no_method_takes_labels_of_the_target(name):
    state, frozen, batch, made = built(name)
    leaked = batch | {TARGET: batch[TARGET] | {"labels": np.zeros(6, int)}}
    with pytest.raises(LeakedLabels):
        jax.eval_shape(made.step, state, frozen, leaked, jax.random.key(1))
    opened = batch | {"target_labelled": streams(True)["target_labelled"]}
    if not METHODS[name].labelled:
        with pytest.raises(LeakedLabels):
            jax.eval_shape(made.step, state, frozen, opened, jax.random.key(1))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_steps_by_its_defaults(name):
    """Shapes alone: a step gives the state back, with a loss."""
    state, frozen, batch, made = built(name)
    after, metrics = jax.eval_shape(made.step, state, frozen, batch, jax.random.key(1))
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (state, after))
    assert shapes[0] == shapes[1]
    assert metrics["loss"].shape == ()
    found = jax.eval_shape(
        made.predict, after, frozen, {"query": {"inputs": batch[TARGET]["inputs"]}}
    )
    assert found.logits.shape == (6, CLASSES)
