"""SetFit: an encoder tuned on pairs, then a logistic head."""

import jax
import numpy as np
import optax
import pytest
from few import player
from given import support_of
from headed import Case, body, one_by_one, overlapping

from tl_jax.algorithms.meta import Inner, adapt, logistic, setfit
from tl_jax.algorithms.meta.learner import Seen
from tl_jax.losses import pair_error, supervised_contrastive
from tl_jax.losses.similarity import cosines
from tl_jax.transfer import full
from tl_jax.types import Player


@pytest.mark.parametrize("loss", [pair_error, supervised_contrastive])
def test_it_adapts_on_pairs_and_then_fits_the_head(loss):
    """As both are by hand; after no steps it is the logistic head alone."""
    model, batch = body(), overlapping(tasks=1)
    one = player(model, optax.sgd(1.0))
    found = {}
    for steps in (0, 3):
        inner = Inner(one.plan.rates, optax.sgd(0.2), steps)
        learner = setfit(model, 3, inner, loss=loss, strength=0.1)
        found[steps] = one_by_one(Case(learner, {"model": one}), batch)[0]
    probe = logistic(model, 3, strength=0.1, norm="running")
    plain = one_by_one(Case(probe, {"model": one}), batch)[0]
    np.testing.assert_allclose(found[0], plain, rtol=1e-4, atol=1e-5)
    support = jax.tree.map(lambda x: x[0], batch["support"])

    def value(params, i, key):
        z = model.apply(params, {}, support["inputs"])[0].features
        return loss(z, support["labels"]).mean()

    inner = Inner(one.plan.rates, optax.sgd(0.2), 3)
    params, _ = adapt(value, {"model": one.plan.params}, "model", inner)
    moved = one._replace(plan=one.plan._replace(params=params))
    wanted = one_by_one(Case(probe, {"model": moved}), batch)[0]
    np.testing.assert_allclose(found[3], wanted, rtol=1e-3, atol=1e-4)
    assert not np.allclose(found[3], found[0], atol=1e-3)


def test_a_bert_is_tuned_on_a_few_texts(tiny_bert):
    """Cosines within a class rise above those across; texts are told apart."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 1])
    tokens = rng.integers(5, 60, (6, 8))
    tokens[:, 1] = np.where(labels, 7, 9)
    support = support_of(np.zeros((6, 1)), labels)
    support["inputs"] = {"tokens": tokens, "mask": np.ones_like(tokens)}
    one = Player(tiny_bert.model, full(tiny_bert.params, tiny_bert.stats), None)
    inner = Inner(one.plan.rates, optax.adam(3e-3), 10)
    learner = setfit(tiny_bert.model, 2, inner)
    seen = Seen({"model": one.plan.stats}, None, False)

    @jax.jit
    def run(params, support, inputs):
        fitted = learner.fit({"model": params}, support, seen)
        outputs, _ = learner.predict(fitted, inputs, seen)
        return outputs, fitted.model.params

    outputs, params = run(one.plan.params, support, support["inputs"])
    before, _ = tiny_bert.model.apply(one.plan.params, {}, support["inputs"])
    same = labels[:, None] == labels
    gaps = []
    for z in (before.features, outputs.features):
        near = np.asarray(cosines(z, z))
        gaps.append(near[same].mean() - near[~same].mean())
    assert gaps[1] > gaps[0] + 0.1
    np.testing.assert_array_equal(outputs.logits.argmax(-1), labels)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, one.plan.params)
    assert moved["blocks"]["0"]["attention"]["query"]["kernel"] > 0


def test_bad_arguments_are_named():
    model = body()
    inner = Inner(player(model, None).plan.rates, optax.sgd(0.1), 1)
    with pytest.raises(ValueError, match="strength is 0, expected a number above 0"):
        setfit(model, 3, inner, strength=0)
