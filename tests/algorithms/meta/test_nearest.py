"""Nearest centroids of prepared features, and nearest neighbours, by loops."""

import jax.numpy as jnp
import numpy as np
import pytest
from given import identity, scored
from headed import adjust

from tl_jax.algorithms.meta import learned, neighbours, prototypical, simpleshot
from tl_jax.algorithms.meta.classes import ABSENT

LABELS = np.array([0, 1, 0, 2, 1, 0])


def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.normal(size=(5, 4))


@pytest.mark.parametrize("prepare", ["UN", "L2N", "CL2N"])
def test_distances_are_to_centroids_of_prepared_features(prepare):
    x, query = drawn()
    mean = np.array([1.0, -0.5, 0.0, 2.0])
    how = {"mean": jnp.asarray(mean)} if prepare == "CL2N" else {}
    found = scored(simpleshot(identity(4), 3, prepare=prepare, **how), x, LABELS, query)

    def own(z):
        z = z - mean if prepare == "CL2N" else z
        return z if prepare == "UN" else z / np.linalg.norm(z)

    for i, z in enumerate(query):
        for k in range(3):
            c = np.mean([own(row) for row in x[k == LABELS]], 0)
            np.testing.assert_allclose(
                found[i, k], -((own(z) - c) ** 2).sum(), rtol=1e-5, atol=1e-6
            )


def test_features_as_they_are_make_a_prototypical_network():
    x, query = drawn()
    first = scored(simpleshot(identity(4), 3, prepare="UN"), x, LABELS, query)
    second = scored(prototypical(identity(4), 3), x, LABELS, query)
    np.testing.assert_array_equal(first, second)


def test_the_mean_may_be_kept_by_a_player():
    x, query = drawn()
    mean = np.arange(4.0)
    params = {"base": adjust(mean=mean).plan.params}
    kept = simpleshot(identity(4), 3, mean=learned("mean", player="base"))
    given = simpleshot(identity(4), 3, mean=jnp.asarray(mean))
    first = scored(kept, x, LABELS, query, params_of=params)
    np.testing.assert_array_equal(first, scored(given, x, LABELS, query))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_neighbours_vote(k):
    """Rows of weight 0 don't, and of equal votes the nearer class wins."""
    x, query = drawn()
    weight = np.array([1, 1, 1, 1, 1, 0.0])
    found = scored(neighbours(identity(4), 4, k), x, LABELS, query, weight)
    np.testing.assert_array_equal(found[:, 3], ABSENT)
    for i, z in enumerate(query):
        order = sorted(range(5), key=lambda n: ((x[n] - z) ** 2).sum())[:k]
        votes = [sum(LABELS[n] == c for n in order) for c in range(3)]
        best = next(LABELS[n] for n in order if votes[LABELS[n]] == max(votes))
        assert found[i].argmax() == best
        np.testing.assert_array_equal(np.floor(found[i, :3] - 1e-6), votes)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"prepare 'L2'.*L2N"):
        simpleshot(identity(4), 3, prepare="L2")
    with pytest.raises(ValueError, match="'CL2N' and mean is None"):
        simpleshot(identity(4), 3)
    with pytest.raises(ValueError, match="'UN' and mean is given"):
        simpleshot(identity(4), 3, prepare="UN", mean=jnp.ones(4))
    x, query = drawn()
    with pytest.raises(ValueError, match="k is 7, expected 1 to 6"):
        scored(neighbours(identity(4), 3, 7), x, LABELS, query)
