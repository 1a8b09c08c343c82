"""Pseudo-labels, agreement of views, thresholds of classes against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_confusion_losses import drawn, softmax

from tl_jax.losses import (
    believed,
    class_thresholds,
    distillation,
    pseudo_label_loss,
    squared_consistency,
)
from tl_jax.losses.consistency import line, relabelled, rise
from tl_jax.tree import NoMatch


def test_pseudo_labels_count_where_they_are_sure():
    logits, reference = drawn(), drawn(seed=1)
    found = pseudo_label_loss(logits, reference, 0.6)
    shown = []
    for i in range(6):
        q = softmax(reference[i])
        sure = q.max() >= 0.6
        shown.append(sure)
        wanted = -np.log(softmax(logits[i])[q.argmax()]) if sure else 0.0
        np.testing.assert_allclose(found[i], wanted, rtol=1e-5)
    assert 0 < sum(shown) < 6


def test_thresholds_of_classes_are_those_of_the_said_class():
    reference = drawn(seed=1)
    least = np.array([0.2, 0.9, 0.5, 0.99], np.float32)
    labels, mask, confidence = believed(reference, least)
    for i, row in enumerate(reference):
        p = softmax(row)
        assert labels[i] == p.argmax()
        assert mask[i] == (p.max() >= least[p.argmax()])
        np.testing.assert_allclose(confidence[i], p.max(), rtol=1e-5)
    with pytest.raises(AssertionError, match="shape"):
        believed(reference, least[:3])


def test_agreement_is_that_of_loops():
    logits, reference = drawn(), drawn(seed=1)
    square = squared_consistency(logits, reference)
    soft = distillation(logits, reference, 2.0)
    for i in range(6):
        p, q = softmax(logits[i]), softmax(reference[i])
        wanted = sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
        np.testing.assert_allclose(square[i], wanted, rtol=1e-5)
        p, q = softmax(logits[i], 2.0), softmax(reference[i], 2.0)
        wanted = -sum(b * np.log(a) for a, b in zip(p, q, strict=True))
        np.testing.assert_allclose(soft[i], wanted, rtol=1e-5)


LOSSES = {
    "pseudo": lambda x, y: pseudo_label_loss(x, y, 0.5),
    "square": squared_consistency,
    "soft": distillation,
}


@pytest.mark.parametrize("name", LOSSES)
def test_references_have_no_gradient(name):
    loss, x, y = LOSSES[name], jnp.asarray(drawn()), jnp.asarray(drawn(seed=1))
    one, other = jax.grad(lambda x, y: loss(x, y).sum(), (0, 1))(x, y)
    assert (one != 0).any()
    np.testing.assert_array_equal(other, 0)
    several = jax.vmap(jax.jit(loss))(jnp.stack([x, y]), jnp.stack([y, x]))
    np.testing.assert_allclose(several, [loss(x, y), loss(y, x)], rtol=1e-5)


LABELS = np.array([0, 0, 0, 1, 2, 2, -1, -1, -1, -1])


@pytest.mark.parametrize(
    ("warm_up", "count", "shares"),
    [
        (False, None, [1, 1 / 3, 2 / 3, 0]),
        (True, None, [3 / 4, 1 / 4, 2 / 4, 0]),  # four that nobody has
        (True, 7, [1, 1 / 3, 2 / 3, 0]),  # one alone
    ],
)
def test_thresholds_grow_with_what_was_learnt(warm_up, count, shares):
    how = dict(warm_up=warm_up, count=count)
    x = np.array(shares)
    maps = {"linear": x, "convex": x / (2 - x), "concave": np.log(1 + x) / np.log(2)}
    for mapping, wanted in maps.items():
        found = class_thresholds(LABELS, 4, 0.9, mapping=mapping, **how)
        np.testing.assert_allclose(found, 0.9 * wanted, rtol=1e-6)
    with pytest.raises(NoMatch, match="convex"):
        class_thresholds(LABELS, 4, 0.9, mapping="conves")


@pytest.mark.parametrize("warm_up", [False, True])
def test_while_nobody_was_believed_everybody_is(warm_up):
    least = class_thresholds(np.full(9, -1), 3, 0.95, warm_up=warm_up)
    np.testing.assert_array_equal(least, 0)


def test_believed_rows_are_relabelled_the_last_of_equal_ones():
    logits = 10 * np.eye(3, dtype=np.float32)[[2, 1, 0, 1, 1, 0]]
    logits[1] = 0  # not sure
    index = np.array([4, 3, 2, 2, -1, 0])
    weight = np.array([1, 1, 1, 1, 1, 0])  # the last is padding
    found = relabelled(jnp.full(5, -1), index, believed(logits, 0.9), weight)
    np.testing.assert_array_equal(found, [-1, -1, 1, -1, 2])


def test_strengths_rise_as_their_papers_say():
    progress = jnp.linspace(0, 1, 11)
    found = rise(progress, 0.5)
    wanted = [np.exp(-5 * (1 - min(p / 0.5, 1)) ** 2) for p in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(rise(progress, 0.0), 1)
    found = line(progress, 0.2, 0.6)
    wanted = [min(max((p - 0.2) / 0.4, 0), 1) for p in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(line(progress, 0.0, 0.0), 1)
    with pytest.raises(ValueError, match="share is 2"):
        rise(progress, 2)
    with pytest.raises(ValueError, match="begin <= end"):
        line(progress, 0.6, 0.2)
