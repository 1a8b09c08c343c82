"""ADAPT's weights, live, where its definitions are ours (it wants TensorFlow)."""

import numpy as np
import pytest

from tl_jax.data import shift_toy
from tl_jax.estimators.weighting import kliep, kmm, nearest, rulsif, ulsif

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def adapt():
    return pytest.importorskip("adapt.instance_based", reason="pip install adapt")


def toy(rows=80, more=60):
    rng = np.random.default_rng(0)
    source = shift_toy.draw("train", rows, rng)[0]
    return source, shift_toy.draw("test", more, rng)[0]


def gamma(sigma):
    return 1 / (2 * sigma**2)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_least_squares(adapt, alpha):
    source, target = toy()
    how = dict(kernel="rbf", gamma=gamma(0.3), verbose=0, random_state=0)
    if alpha:
        peer = adapt.RULSIF(lambdas=0.1, alpha=alpha, **how)
    else:
        peer = adapt.ULSIF(lambdas=0.1, **how)
    want = peer.fit_weights(source, target)
    one = dict(sigmas=(0.3,), lambdas=(0.1,))
    own = rulsif(source, target, alpha=alpha, **one)
    np.testing.assert_allclose(own.values, want, rtol=1e-8, atol=1e-10)
    if not alpha:
        plain = ulsif(source, target, **one)
        np.testing.assert_allclose(plain.values, want, rtol=1e-8, atol=1e-10)


def test_neighbours(adapt):
    source, target = toy()
    peer = adapt.NearestNeighborsWeighting(n_neighbors=4, verbose=0, random_state=0)
    want = peer.fit_weights(source, target)
    np.testing.assert_array_equal(nearest(source, target, k=4).found["counts"], want)


def test_mean_matching(adapt):
    source, target = toy()
    how = dict(kernel="rbf", gamma=gamma(0.03), verbose=0, random_state=0, tol=1e-11)
    want = adapt.KMM(B=10, **how).fit_weights(source, target)
    own = kmm(source, target, sigma=0.03, bound=10.0, tolerance=1e-13)
    np.testing.assert_allclose(own.values, want, atol=1e-3)


def test_likelihood(adapt):
    """Theirs comes near, from below: Frank-Wolfe's steps shrink."""
    source, target = toy()
    how = dict(kernel="rbf", gamma=gamma(0.3), verbose=0, random_state=0)
    peer = adapt.KLIEP(**how)
    peer.fit_weights(source, target)
    own = kliep(source, target, sigmas=(0.3,), tolerance=1e-10)
    best = np.log(own.ratio(target)).mean()
    theirs = np.log(peer.predict_weights(target)).mean()
    assert best - 1e-4 < theirs <= best + 1e-10
