"""Temperatures and relations of classes, against a grid and a loop."""

import numpy as np
import pytest

from tl_jax.estimators import category_relation, temperature

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(9, 4)).astype(np.float32) * 3
LABELS = np.array([0, 1, 1, 2, 0, 2, 2, 1, 0])


def softmax(logits):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


@pytest.mark.parametrize("t", [1.0, 2.5])
def test_a_relation_is_the_mean_of_a_class(t):
    want = np.zeros((3, 4))
    for label in range(3):
        rows = [
            softmax(x / t) for x, y in zip(LOGITS, LABELS, strict=True) if y == label
        ]
        want[label] = sum(rows) / len(rows)
    found = category_relation(LOGITS, LABELS, classes=3, temperature=t)
    np.testing.assert_allclose(found, want, rtol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_the_temperature_is_the_likeliest_of_a_grid():
    """Labels drawn from softmax(logits / 3) ask for about 3."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2000, 4)).astype(np.float32) * 6
    odds = softmax(logits.astype(np.float64) / 3)
    labels = np.array([rng.choice(4, p=p) for p in odds])
    grid = np.linspace(2, 4, 401)
    rows = np.arange(2000)
    loss = [-np.log(softmax(logits / t)[rows, labels]).mean() for t in grid]
    found = float(temperature(logits, labels))
    assert abs(found - grid[np.argmin(loss)]) < 0.01
    assert 2.7 < found < 3.3


@pytest.mark.parametrize(
    "labels, more, message",
    [
        (LABELS, {"classes": 4}, "class 3 has no example"),
        (LABELS, {"classes": 2}, "labels: row 3 is 2, expected 0..1"),
        (LABELS, {"classes": 3, "temperature": 0.0}, "temperature is 0.0"),
        (LABELS[:-1], {"classes": 3}, "9 rows of features, targets"),
    ],
)
def test_bad_input_raises(labels, more, message):
    with pytest.raises(ValueError, match=message):
        category_relation(LOGITS, labels, **more)
