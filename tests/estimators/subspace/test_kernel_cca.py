"""Kernel CCA against the generalised eigenproblem and scikit-learn's linear one."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.cross_decomposition import CCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from tl_jax.estimators.subspace import KernelCCA, kernel_cca
from tl_jax.estimators.subspace.kernel_cca import bandwidth
from tl_jax.tree import NoMatch


def two_views(rows=60, seed=0):
    """Two shared directions, seen in four and in three numbers, beside noise."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(rows, 2))
    x = np.concatenate([shared, rng.normal(size=(rows, 2))], 1)
    y = np.concatenate([shared + 0.5 * rng.normal(size=(rows, 2)), x[:, 3:] ** 2], 1)
    return x @ rng.normal(size=(4, 4)) + 3, y @ rng.normal(size=(3, 3)) - 1


def centred_gauss(rows, gamma):
    found = np.empty((len(rows), len(rows)))
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            found[i, j] = np.exp(-gamma * ((one - other) ** 2).sum())
    centre = np.eye(len(rows)) - 1 / len(rows)
    return centre @ found @ centre


@parametrize_with_checks([KernelCCA(n_components=2), KernelCCA(2, "linear")])
def test_keeps_the_protocol_of_scikit_learn(estimator, check):
    check(estimator)


def test_it_solves_the_generalised_eigenproblem():
    """[0 KxKy; KyKx 0] v = r [(Kx + c)^2 0; 0 (Ky + c)^2] v."""
    (x, y), strength = two_views(), 0.05
    found = kernel_cca(x, y, components=3, gamma=(0.05, 0.1), strength=strength)
    one, other = centred_gauss(x, 0.05), centred_gauss(y, 0.1)
    ridge, zero = strength * len(x) / 2 * np.eye(len(x)), np.zeros_like(one)
    left = np.block([[zero, one @ other], [other @ one, zero]])
    sides = [(k + ridge) @ (k + ridge) for k in (one, other)]
    values, vectors = scipy.linalg.eigh(left, scipy.linalg.block_diag(*sides))
    np.testing.assert_allclose(found.correlations, values[::-1][:3], atol=1e-8)
    for i in range(3):
        own = vectors[:, -1 - i]
        for view, rows, k, part in (
            (found.x, x, one, own[: len(x)]),
            (found.y, y, other, own[len(x) :]),
        ):
            made, wanted = view(rows)[:, i], k @ part
            cosine = made @ wanted / np.linalg.norm(made) / np.linalg.norm(wanted)
            assert abs(cosine) > 1 - 1e-8


def test_the_linear_kernel_is_scikit_learn_s_cca():
    x, y = two_views(200)
    found = kernel_cca(x, y, kind="linear", components=2, strength=1e-9)
    peer = CCA(n_components=2, max_iter=5000, tol=1e-12).fit(x, y)
    for own, theirs in zip((found.x(x), found.y(y)), peer.transform(x, y), strict=True):
        for i in range(2):
            assert abs(np.corrcoef(own[:, i], theirs[:, i])[0, 1]) > 1 - 1e-6
    pairs = zip(*(side.T for side in peer.transform(x, y)), strict=True)
    wanted = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    np.testing.assert_allclose(found.correlations, wanted, atol=1e-6)


def test_views_of_fitted_rows_are_centred_and_of_one_norm():
    x, y = two_views()
    found = kernel_cca(x, y, components=4, strength=1e-6)
    for made in (found.x(x), found.y(y)):
        np.testing.assert_allclose(made.mean(0), 0, atol=1e-7)
        np.testing.assert_allclose(made.T @ made, np.eye(4), atol=2e-3)


def test_full_rank_is_exact_and_a_low_one_is_near():
    x, y = two_views(80)
    exact = kernel_cca(x, y, components=3)
    whole = kernel_cca(x, y, components=3, rank=80)
    new, _ = two_views(10, seed=1)
    np.testing.assert_allclose(whole.correlations, exact.correlations, atol=1e-6)
    signs = np.sign((whole.x(x) * exact.x(x)).sum(0))
    np.testing.assert_allclose(whole.x(new) * signs, exact.x(new), atol=1e-5)
    low = kernel_cca(x, y, components=3, rank=40)
    assert len(low.x.points) == 40
    np.testing.assert_allclose(low.correlations, exact.correlations, atol=0.03)


def test_a_classifier_of_one_view_serves_the_other():
    """Classes in the shared directions: learned from x, asked of y alone."""
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(400, 2)) + 2 * np.eye(2)[np.arange(400) % 2]
    x = np.tanh(shared @ rng.normal(size=(2, 6)))
    y = np.sin(shared @ rng.normal(size=(2, 9)) / 2) + 0.05 * rng.normal(size=(400, 9))
    labels = np.arange(400) % 2
    face = KernelCCA(n_components=4).fit(x[:200], y[:200])
    there, here = face.transform(x[200:300]), face.transform_other(y[300:])
    means = np.stack([there[labels[200:300] == c].mean(0) for c in range(2)])
    far = ((here[:, None] - means) ** 2).sum(-1)
    assert (far.argmin(1) == labels[300:]).mean() > 0.8
    assert face.correlations_[0] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 0}, "components=0"),
        ({"strength": -1.0}, "strength=-1"),
        ({"rank": 0}, "rank=0"),
        ({"y": np.ones((5, 2))}, r"y is \[5, 2\]"),
        (
            {"x": np.zeros((2001, 1)), "y": np.zeros((2001, 1))},
            "2001 pairs are too many",
        ),
        ({"x": np.ones((60, 2))}, "all rows of a view are equal"),
    ],
)
def test_mistakes_are_named(options, message):
    x, y = two_views()
    with pytest.raises(ValueError, match=message):
        kernel_cca(**{"x": x, "y": y} | options)
    with pytest.raises(NoMatch, match="rbf"):
        kernel_cca(x, y, kind="rfb")


def test_the_bandwidth_is_the_median_of_pairs():
    rows = np.random.default_rng(0).normal(size=(9, 3))
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(rows) for b in rows[:i]]
    assert bandwidth(rows) == pytest.approx(1 / np.median(pairs))
    few = np.zeros((6, 1))
    few[0] = 1
    assert bandwidth(few) == pytest.approx(3)
