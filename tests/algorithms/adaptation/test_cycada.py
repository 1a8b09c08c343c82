"""CyCADA: the task learns from this step's translations, and from nothing later."""

import chex
import jax
import numpy as np
import optax
import pytest
from pictures import SHAPE, batch, player, stream, tiny_classifier, translators

from tl_jax import checkpoint
from tl_jax.algorithms.adaptation import LeakedLabels, cycada
from tl_jax.losses import cross_entropy
from tl_jax.tree import NoMatch

KEY = jax.random.key(4)


def loss(outputs, given):
    return cross_entropy(outputs.logits, given["labels"])


def started(**how):
    players = translators(optax.sgd(1e-2))
    players["model"] = player(tiny_classifier(), optax.sgd(1e-4), 7)
    built = cycada(players, loss, shape=SHAPE, **how)
    return players, built, *built.init(KEY, players)


@pytest.mark.parametrize("untranslated", [0.0, 2.0])
def test_the_task_s_loss_is_of_translations_before_the_descent(untranslated):
    players, built, state, frozen = started(untranslated=untranslated)
    given = batch(padding=1)
    after, metrics = jax.jit(built.step)(state, frozen, given, KEY)
    image = given["source"]["inputs"]
    maker, model = players["to_target"].model, players["model"].model
    made = maker.apply(state.train["to_target"], {}, image)[0].hidden[-1]
    weight = np.asarray(given["source"]["weight"])

    def mean(image):
        outputs = model.apply(state.train["model"], {}, {"image": image})[0]
        each = np.asarray(loss(outputs, given["source"]), np.float64)
        return (weight * each).sum() / weight.sum()

    wanted = mean(made) + untranslated * mean(image["image"])
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-5)
    assert ("loss/source" in metrics) == bool(untranslated)
    assert checkpoint.compare(state, after) == []


def test_the_task_moves_no_generator():
    """Without consistency, generators step as CycleGAN's whatever the task does."""
    _, built, state, frozen = started(consistency=0.0)
    one, _ = jax.jit(built.step)(state, frozen, batch(), KEY)
    given = batch()
    other = (given["source"]["labels"] + 1) % 3
    given["source"] = given["source"] | {"labels": other}
    two, _ = jax.jit(built.step)(state, frozen, given, KEY)
    chex.assert_trees_all_equal(one.train["to_target"], two.train["to_target"])
    same = jax.tree.map(
        lambda a, b: bool((a == b).all()), one.train["model"], two.train["model"]
    )
    assert not all(jax.tree.leaves(same))


def test_mistakes_are_named():
    players, built, state, frozen = started()
    with pytest.raises(LeakedLabels):
        built.step(state, frozen, batch() | {"target": stream(1)}, KEY)
    with pytest.raises(ValueError, match="consistency=-1"):
        cycada(players, loss, shape=SHAPE, consistency=-1)
    with pytest.raises(NoMatch, match="modle"):
        cycada(players, loss, shape=SHAPE, main="modle")
    del players["to_source"]
    with pytest.raises(NoMatch, match="to_source"):
        cycada(players, loss, shape=SHAPE)
