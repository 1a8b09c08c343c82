"""Partial label sets: weights of classes by hand, and who is weighed by them."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_terms import built, go, one_step, outputs
from two_domains import CLASSES, batch, loss, network, player

from tl_jax.algorithms.adaptation import Side, Term, check_label_sets, pada
from tl_jax.types import Outputs


def softmax(logits):
    e = np.exp(np.float64(logits) - np.max(logits, -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_classes_weigh_as_often_as_the_target_is_said_to_be_of_them():
    """Renewed each second step by the mean of two batches, padding left out."""
    made, _, state, frozen = built({"own": pada(CLASSES, every=2, temperature=0.5)})
    shares = []
    for i in range(4):
        kept = np.asarray(state.memory["terms"]["own"]["weights"])
        if i < 2:
            np.testing.assert_array_equal(kept, 1)
        else:
            mean = np.concatenate(shares[:2]).mean(0)
            np.testing.assert_allclose(kept, mean / mean.max(), rtol=1e-4)
        x = batch(i)["target"]["inputs"]["features"]
        shares.append(softmax(outputs(state.train["model"], x).logits / 0.5))
        state, _ = go(made, state, frozen, i, 1)
    mean = np.concatenate(shares[2:]).mean(0)
    kept = state.memory["terms"]["own"]
    np.testing.assert_allclose(kept["weights"], mean / mean.max(), rtol=1e-4)
    assert kept["steps"] == 0
    assert kept["mass"] == 0
    assert kept["weights"].min() < 0.9


def test_weights_are_tllibs(golden):
    """Its module, of the recorded logits at temperature 0.5."""
    with np.load(golden / "self_training.npz") as file:
        logits, wanted = file["given/wide"], file["tllib/partial"]
    term = pada(5, every=1, temperature=0.5)
    stream = {"weight": jnp.ones(12)}
    side = Side(Outputs(jnp.ones((12, 1)), jnp.asarray(logits)), stream)
    found = term.value(SimpleNamespace(target=side, own=term.init(key(), {})))
    np.testing.assert_allclose(found.own["weights"], wanted, rtol=1e-5)


def key():
    return jax.random.key(3)


def test_the_loss_and_other_terms_weigh_the_source_so():
    """A weighted mean over the source, by each row's class."""
    weights = jnp.asarray([1.0, 0.5, 0.0])
    term = pada(CLASSES)
    start = term.init(key(), {}) | {"weights": weights}
    term = term._replace(init=lambda key, players: start)
    told = {}

    def look(seen):
        told["own"] = seen.source.weight
        return seen.source.mean(seen.source.outputs.features.sum(1))

    _, _, metrics = one_step({"own": term, "other": Term(look)})
    source = batch()["source"]
    row = np.asarray(weights)[np.asarray(source["labels"])]
    found = outputs(player(network()).plan.params, source["inputs"]["features"])
    each = np.float64(loss(found, source))
    np.testing.assert_allclose(
        metrics["supervised"], (row * each).sum() / row.sum(), rtol=1e-5
    )
    other = (row * np.float64(found.features).sum(1)).sum() / row.sum()
    np.testing.assert_allclose(metrics["term/other"], other, rtol=1e-5)
    assert 0 < row.sum() < len(row)


def test_classes_that_are_not_the_heads_raise():
    with pytest.raises(ValueError, match="pada: 4 classes, but 3 logits"):
        one_step({"own": pada(4)})
    with pytest.raises(ValueError, match="1 classes"):
        pada(1)
    with pytest.raises(ValueError, match="every 0 steps"):
        pada(3, every=0)
    with pytest.raises(ValueError, match="temperature is 0"):
        pada(3, temperature=0)


def test_label_sets_that_differ_need_a_method_for_it():
    check_label_sets("abc", "abc")
    check_label_sets("abc", "ac", partial=True)
    with pytest.raises(ValueError, match=r"lacks: 'b', 'c'; choose .*pada"):
        check_label_sets("abc", "a")
    with pytest.raises(ValueError, match=r"source lacks: 'd'"):
        check_label_sets("abc", "abd", partial=True)
    with pytest.raises(ValueError, match="another order"):
        check_label_sets("abc", "acb")
