"""Regularisers against loops over numbers, and their derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tl_jax.losses import feature_distance, spectral_shrinkage, squared_distance

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_squared_distance_is_a_sum_over_all_numbers():
    tree = {"a": normal(2, 3), "b": {"c": normal(4), "hole": None}}
    start = {"a": normal(2, 3), "b": {"c": normal(4), "hole": None}}
    far = alone = 0.0
    for leaf, begun in ((tree["a"], start["a"]), (tree["b"]["c"], start["b"]["c"])):
        for x, y in zip(leaf.ravel(), begun.ravel(), strict=True):
            far += (x - y) ** 2 / 2
            alone += x**2 / 2
    np.testing.assert_allclose(squared_distance(tree, start), far, rtol=1e-6)
    np.testing.assert_allclose(squared_distance(tree), alone, rtol=1e-6)
    assert squared_distance({"hole": None}) == 0


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_spectral_shrinkage_is_of_the_smallest(shape, k):
    features = normal(*shape)
    # s^2 are the eigenvalues of the smaller of the two products.
    square = features @ features.T if shape[0] < shape[1] else features.T @ features
    values = np.sort(np.linalg.eigvalsh(square.astype(np.float64)))
    want = values[:k].sum()
    np.testing.assert_allclose(spectral_shrinkage(features, k), want, rtol=1e-4)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (8, 6)])
def test_padding_does_not_count_as_a_direction(shape):
    """An empty row would be a singular value of 0, the smallest of all."""
    real, padded = normal(*shape), normal(3, shape[1])
    features = np.concatenate([real[:2], padded, real[2:]])
    weight = np.ones(len(features), np.float32)
    weight[2:5] = 0
    for k in (1, 2):
        want = spectral_shrinkage(real, k)
        got = spectral_shrinkage(features, k, weight)
        np.testing.assert_allclose(got, want, rtol=1e-4)
        slope = jax.grad(lambda f, k=k: spectral_shrinkage(f, k, weight))(features)
        own = jax.grad(lambda f, k=k: spectral_shrinkage(f, k))(real)
        np.testing.assert_allclose(np.delete(slope, [2, 3, 4], 0), own, atol=1e-4)
        assert not slope[2:5].any()


def test_spectral_shrinkage_has_both_derivatives():
    features = jnp.asarray(normal(4, 6))
    with jax.enable_x64(True):
        precise = jnp.asarray(features, float)
        check_grads(partial(spectral_shrinkage, k=2), (precise,), 2)
    with pytest.raises(ValueError, match="k is 0"):
        spectral_shrinkage(features, 0)


def test_feature_distance_is_a_loop_over_layers_places_and_channels():
    maps = [normal(2, 3, 4), normal(2, 3, 4)]
    start = [normal(2, 3, 4), normal(2, 3, 4)]
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    attention = [normal(4), normal(4)]
    want = np.zeros(2)
    for i in range(2):
        for new, old, own in zip(maps, start, attention, strict=True):
            for t in range(3):
                if mask[i, t]:
                    square = (new[i, t] - old[i, t]) ** 2
                    want[i] += 0.5 * (own * square).sum() / mask[i].sum()
    found = feature_distance(maps, start, mask, attention)
    np.testing.assert_allclose(found, want, rtol=1e-5)
    # Tokens in front of the mask's are a prompt's: nothing they hold counts.
    front = [np.concatenate([normal(2, 2, 4), x], 1) for x in maps]
    begun = [np.concatenate([normal(2, 2, 4), x], 1) for x in start]
    found = feature_distance(front, begun, mask, attention)
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_feature_distance_of_pictures_is_a_mean_over_places():
    shapes = ((2, 3, 5, 4), (2, 4))
    maps, start = [normal(*s) for s in shapes], [normal(*s) for s in shapes]
    want = np.zeros(2)
    for i in range(2):
        for new, old, places in zip(maps, start, (15, 1), strict=True):
            want[i] += 0.5 * ((new[i] - old[i]) ** 2).sum() / places
    found = feature_distance(maps, start, np.ones((2, 3)))
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_layers_must_correspond():
    one = [normal(2, 4)]
    with pytest.raises(ValueError, match="2 maps, 1 starts"):
        feature_distance(one * 2, one)
    with pytest.raises(ValueError, match="1 maps, attention to 2"):
        feature_distance(one, one, attention=one * 2)
    with pytest.raises(AssertionError):
        feature_distance(one, [normal(2, 3)])
