"""Losses of pairs against loops over pairs."""

import jax
import numpy as np
import pytest

from tl_jax.losses import pair_error, supervised_contrastive

LABELS = np.array([0, 1, 0, 2, 1, 0])
WEIGHT = np.array([1, 1, 0.5, 1, 2, 0])


def drawn():
    return np.random.default_rng(0).normal(size=(6, 4)).astype("f")


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def mean(values, weights):
    return np.average(values, weights=weights) if sum(weights) > 0 else 0.0


def others(i, same):
    """Examples that i is paired with: of its label, or not."""
    return [j for j in range(6) if j != i and (LABELS[i] == LABELS[j]) == same]


@pytest.mark.parametrize("weighted", [False, True])
def test_pair_errors_are_those_of_loops(weighted):
    z, weight = drawn(), WEIGHT if weighted else np.ones(6)
    found = pair_error(z, LABELS, weight if weighted else None)
    for i in range(6):
        kinds = []
        for same in (True, False):
            own = others(i, same)
            off = [(cosine(z[i], z[j]) - same) ** 2 for j in own]
            kinds.append(mean(off, weight[own]))
        np.testing.assert_allclose(found[i], np.mean(kinds), rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_contrastive_losses_are_those_of_loops(weighted):
    z, weight = drawn(), WEIGHT if weighted else np.ones(6)
    found = supervised_contrastive(z, LABELS, weight if weighted else None, 0.5)
    for i in range(6):
        every = [j for j in range(6) if j != i]
        total = sum(weight[j] * np.exp(cosine(z[i], z[j]) / 0.5) for j in every)
        mates = others(i, True)
        logs = [cosine(z[i], z[j]) / 0.5 - np.log(total) for j in mates]
        np.testing.assert_allclose(
            found[i], -mean(logs, weight[mates]), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("loss", [pair_error, supervised_contrastive])
def test_nothing_to_pair_costs_nothing(loss):
    """One example alone, and partners of weight 0; gradients stay finite."""
    z = drawn()[:2]
    labels, weight = np.array([0, 0]), np.array([1.0, 0.0])
    found, grads = jax.value_and_grad(lambda z: loss(z, labels, weight)[0])(z)
    assert found == 0
    np.testing.assert_array_equal(grads, 0)


def test_one_label_a_row():
    with pytest.raises(AssertionError, match="shape"):
        pair_error(drawn(), LABELS[:5])
