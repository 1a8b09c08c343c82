"""Pairs of labelled rows across domains against loops over pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_confusion_losses import drawn

from tl_jax.losses import semantic_alignment

OURS, THEIRS = np.array([0, 1, 2, 1, 0, 2]), np.array([0, 1, 1, 0])


def by_loops(x, y, margin, w, v):
    same, other = [], []
    for i in range(len(x)):
        for j in range(len(y)):
            d = np.sqrt(((np.float64(x[i]) - y[j]) ** 2).sum())
            if OURS[i] == THEIRS[j]:
                same.append((w[i] * v[j], d**2 / 2))
            else:
                other.append((w[i] * v[j], max(0, margin - d) ** 2 / 2))
    total = 0.0
    for pairs in (same, other):
        weight = sum(a for a, _ in pairs)
        total += sum(a * b for a, b in pairs) / weight if weight else 0
    return total


@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_alignment_is_that_of_loops(margin):
    x, y = drawn(6, 3, scale=1.0) + 9, drawn(4, 3, seed=1, scale=1.0) + 9
    found = semantic_alignment(x, OURS, y, THEIRS, margin=margin)
    wanted = by_loops(x, y, margin, np.ones(6), np.ones(4))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    w, v = np.array([1, 2, 0.5, 1, 1, 0]), np.array([1, 0, 3, 1])
    how = dict(margin=margin, source_weight=w, target_weight=v)
    found = semantic_alignment(x, OURS, y, THEIRS, **how)
    np.testing.assert_allclose(found, by_loops(x, y, margin, w, v), rtol=1e-5)


def test_pairs_of_a_class_draw_together_and_of_two_apart():
    x, y = jnp.asarray([[0.0, 0.0]]), jnp.asarray([[0.3, 0.4]])
    for other, wanted in ((0, [-0.3, -0.4]), (1, [0.3, 0.4])):
        slope = jax.grad(
            lambda x, other=other: semantic_alignment(
                x, jnp.zeros(1, int), y, jnp.full(1, other)
            )
        )(x)
        np.testing.assert_allclose(slope[0], wanted, rtol=1e-5)


def test_rows_in_one_place_have_a_finite_slope():
    x = jnp.ones((3, 2))
    labels = jnp.asarray([0, 1, 2])
    slope = jax.grad(lambda x: semantic_alignment(x, labels, x, labels))(x)
    assert jnp.isfinite(slope).all()


def test_no_pairs_cost_nothing():
    x, none = drawn(4, 2), np.zeros(4)
    found = semantic_alignment(x, THEIRS, x, THEIRS, source_weight=none)
    assert found == 0
