"""Laws of the closed forms, loops in NumPy, weights, tracing and what is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tl_jax.estimators import subspace
from tl_jax.tree import NoMatch

METHODS = {
    "coral": partial(subspace.coral, shrinkage=0.1, means=True),
    "linear_ot": partial(subspace.linear_ot, ridge=0.1),
    "subspace_alignment": partial(subspace.subspace_alignment, dimension=3),
    "tca_rbf": partial(subspace.tca, dimension=3, mu=0.5),
    "tca_linear": partial(subspace.tca, dimension=3, kernel="linear", mu=0.5),
    "augmentation": subspace.augmentation,
}


def domains(width=5, seed=0):
    rng = np.random.default_rng(seed)
    turns = rng.normal(size=(2, width, width))
    source = rng.normal(size=(40, width)) @ turns[0]
    return source, rng.normal(size=(50, width)) @ turns[1] + 2


def covariance(x, divisor):
    """By a loop over rows."""
    mean = sum(x) / len(x)
    return sum(np.outer(row - mean, row - mean) for row in x) / divisor


def raised(matrix, exponent):
    values, axes = np.linalg.eigh(matrix)
    return axes @ np.diag(values**exponent) @ axes.T


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("float64")
def test_coral_is_whitening_then_colouring():
    source, target = domains()
    here = covariance(source, 39) + 0.1 * np.eye(5)
    there = covariance(target, 49) + 0.1 * np.eye(5)
    kernel = raised(here, -0.5) @ raised(there, 0.5)
    found = subspace.coral(source, target, shrinkage=0.1)
    np.testing.assert_allclose(found.source(source), source @ kernel, atol=1e-9)
    np.testing.assert_array_equal(found.target(target), target)
    moved = subspace.coral(source, target, shrinkage=0.1, means=True)
    want = (source - source.mean(0)) @ kernel + target.mean(0)
    np.testing.assert_allclose(moved.source(source), want, atol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["coral", "linear_ot"])
def test_the_source_gets_the_target_s_covariance_and_mean(method):
    """Without shrinkage exactly; the transport's kernel is symmetric besides."""
    source, target = domains()
    if method == "coral":
        found = subspace.coral(source, target, shrinkage=0.0, means=True)
        divisors = 39, 49
    else:
        found = subspace.linear_ot(source, target, ridge=1e-12)
        divisors = 40, 50
        kernel = found.source.kernel
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-9)
        assert np.linalg.eigvalsh(kernel).min() > 0
    moved = np.asarray(found.source(source))
    got, want = covariance(moved, divisors[0]), covariance(target, divisors[1])
    np.testing.assert_allclose(got, want, atol=1e-8)
    np.testing.assert_allclose(moved.mean(0), target.mean(0), atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_transport_is_the_formula():
    source, target = domains()
    here = covariance(source, 40) + 0.1 * np.eye(5)
    there = covariance(target, 50) + 0.1 * np.eye(5)
    root, back = raised(here, 0.5), raised(here, -0.5)
    kernel = back @ raised(root @ there @ root, 0.5) @ back
    found = subspace.linear_ot(source, target, ridge=0.1)
    want = (source - source.mean(0)) @ kernel + target.mean(0)
    np.testing.assert_allclose(found.source(source), want, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_transport_moves_less_than_other_maps_to_the_same_gaussian():
    """Whitening, any turn, colouring: the transport is the nearest of them all."""
    source, target = domains()
    found = subspace.linear_ot(source, target, ridge=1e-12).source(source)
    least = ((found - source) ** 2).sum()
    back = raised(covariance(source, 40), -0.5)
    colour = raised(covariance(target, 50), 0.5)
    rng = np.random.default_rng(0)
    turns = [np.eye(5), *(np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(20))]
    for turn in turns:
        moved = (source - source.mean(0)) @ back @ turn @ colour + target.mean(0)
        np.testing.assert_allclose(covariance(moved, 40), colour @ colour, atol=1e-8)
        assert ((moved - source) ** 2).sum() > 1.001 * least


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["coral", "linear_ot", "subspace_alignment"])
def test_equal_domains_stay(method):
    source, _ = domains()
    found = METHODS[method](source, source)
    np.testing.assert_allclose(found.source(source), found.target(source), atol=1e-9)
    if method != "subspace_alignment":
        np.testing.assert_allclose(found.source(source), source, atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_subspaces_by_eigenvectors_of_covariances():
    source, target = domains()
    axes = [np.linalg.eigh(covariance(x, 1))[1][:, :-4:-1] for x in (source, target)]
    turn = axes[0] @ axes[0].T @ axes[1]
    found = subspace.subspace_alignment(source, target, 3)
    sign = np.sign(np.diag(axes[1].T @ found.target.kernel))
    want = (source - source.mean(0)) @ turn * sign
    np.testing.assert_allclose(found.source(source), want, atol=1e-9)
    want = (target - target.mean(0)) @ axes[1] * sign
    np.testing.assert_allclose(found.target(target), want, atol=1e-9)


def test_a_consistent_dimension_is_the_last_with_a_gap():
    """Variances 9, 4, 1 and four equal ones: three directions are to be told apart."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(60, 8)) - 0.0)[0]
    axes = np.linalg.qr(axes - axes.mean(0))[0][:, :7]
    x = axes * np.sqrt(59 * np.array([9, 4, 1, 0.1, 0.1, 0.1, 0.1]))
    longest = np.linalg.norm(x, axis=1).max()
    factor = (1 + np.sqrt(np.log(20) / 2)) * 16 * longest / np.sqrt(60)
    gamma = factor * 3**1.5 / 0.9  # the third gap is 0.9
    assert subspace.consistent_dimension(x, x, gamma=1.001 * gamma) == 3
    assert subspace.consistent_dimension(x, x, gamma=0.999 * gamma) == 2
    assert subspace.consistent_dimension(x, x, gamma=1e-9) == 1


def kernel_problem(x, kind, gamma, counts, mu):
    """(K, K H K, K l l^T K + mu I) by loops over pairs."""
    total = len(x)
    k = np.zeros((total, total))
    for i in range(total):
        for j in range(total):
            apart = ((x[i] - x[j]) ** 2).sum()
            k[i, j] = x[i] @ x[j] if kind == "linear" else np.exp(-gamma * apart)
    lever = np.array([1 / counts[0]] * counts[0] + [-1 / counts[1]] * counts[1])
    centre = np.eye(total) - np.ones((total, total)) / total
    pull = np.outer(k @ lever, k @ lever) + mu * np.eye(total)
    return k, k @ centre @ k, pull


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["rbf", "linear"])
def test_components_solve_the_generalised_eigenproblem(kind):
    """SciPy's solver on matrices made pair by pair; new rows by the same kernel."""
    source, target = domains()
    x = np.concatenate([source, target])
    k, spread, pull = kernel_problem(x, kind, 0.05, (40, 50), mu=0.5)
    vectors = scipy.linalg.eigh(spread, pull)[1][:, :-4:-1]
    vectors = vectors * np.sqrt(90 / np.diag(vectors.T @ spread @ vectors))
    found = subspace.tca(source, target, 3, kernel=kind, mu=0.5, gamma=0.05)
    got = np.asarray(found.target(x))
    want = k @ vectors
    want = want * np.sign((want * got).sum(0))
    np.testing.assert_allclose(got, want, atol=1e-7)
    np.testing.assert_allclose(got.std(0), 1.0, atol=1e-7)
    np.testing.assert_allclose(found.source(source), got[:40], atol=1e-9)


@pytest.mark.usefixtures("float64")
def test_components_of_small_mu_have_the_same_mean_in_both_domains():
    source, target = domains()

    def apart(mu):
        found = subspace.tca(source, target, 3, mu=mu)
        means = [found.source(x).mean(0) for x in (source, target)]
        return np.abs(means[0] - means[1]).max()

    assert apart(1e-4) < 0.1 < 0.5 < apart(1e4)


def test_augmentation_is_shared_then_own():
    source, target = domains(width=2)
    found = subspace.augmentation(source, target)
    none = np.zeros_like(source)
    want = np.hstack([source, source, none])
    np.testing.assert_allclose(found.source(source), want, rtol=1e-6)
    want = np.hstack([target, np.zeros_like(target), target])
    np.testing.assert_allclose(found.target(target), want, rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", METHODS)
def test_rows_of_weight_zero_change_nothing(method):
    source, target = domains()
    plain = METHODS[method](source, target)
    more = np.full((3, 5), 7.0)
    weights = [np.append(np.ones(n), np.zeros(3)) for n in (40, 50)]
    padded = METHODS[method](
        np.vstack([source, more]),
        np.vstack([target, more]),
        source_weight=weights[0],
        target_weight=weights[1],
    )
    for domain, rows in (("source", source), ("target", target)):
        got, want = (getattr(found, domain)(rows) for found in (padded, plain))
        np.testing.assert_allclose(got, want, atol=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["linear_ot", "subspace_alignment", "tca_rbf"])
def test_a_weight_is_a_number_of_copies(method):
    source, target = domains()
    copies = np.arange(40) % 3
    weighed = METHODS[method](source, target, source_weight=copies)
    copied = METHODS[method](np.repeat(source, copies, 0), target)
    got, want = weighed.source(source), copied.source(source)
    np.testing.assert_allclose(got, want, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_near_and_traces(method):
    """Jitted and over a batch of pairs it is what it is eagerly."""
    source, target = (np.float32(rows) for rows in domains())
    with jax.enable_x64(True):
        want = np.asarray(METHODS[method](source, target).source(source))

    def mapped(source, target):
        return METHODS[method](source, target).source(source)

    eager = mapped(source, target)
    assert eager.dtype == jnp.float32
    size = np.abs(want).max()
    np.testing.assert_allclose(eager, want, atol=2e-3 * size)
    np.testing.assert_allclose(jax.jit(mapped)(source, target), eager, atol=2e-3 * size)
    pairs = [np.stack([rows, 2 * rows]) for rows in (source, target)]
    batched = jax.vmap(mapped)(*pairs)
    np.testing.assert_allclose(batched[0], eager, atol=2e-3 * size)


def test_more_features_than_rows_keep_factors():
    """CORAL of 4 and 5 rows in 50 features: as the [D D] formula, from thin factors."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(4, 50)), rng.normal(size=(5, 50))
    with jax.enable_x64(True):
        found = subspace.coral(source, target, shrinkage=1.0)
        assert found.source.whiten.axes.shape == (50, 4)
        here = covariance(source, 3) + np.eye(50)
        there = covariance(target, 4) + np.eye(50)
        want = source @ raised(here, -0.5) @ raised(there, 0.5)
        np.testing.assert_allclose(found.source(source), want, atol=1e-9)


def test_constant_features_stay_finite():
    source, target = domains()
    source[:, 2], target[:, 3] = 1.0, 0.0
    for method in METHODS.values():
        found = method(source, target)
        assert np.isfinite(found.source(source)).all()
    found = subspace.coral(source, target, shrinkage=0.0)
    assert np.isfinite(found.source(source)).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s, t: subspace.coral(s, t[:, :4]), "target features are 4 wide"),
        (lambda s, t: subspace.coral(s[0], t), r"source features have shape \(5,\)"),
        (lambda s, t: subspace.coral(s, t, shrinkage=-1), "shrinkage is -1"),
        (lambda s, t: subspace.linear_ot(s, t, ridge=0), "ridge is 0"),
        (lambda s, t: subspace.subspace_alignment(s, t, 6), r"is 6, expected 1\.\.5"),
        (lambda s, t: subspace.tca(s, t, 0), r"dimension is 0, expected 1\.\.90"),
        (lambda s, t: subspace.tca(s, t, 6, kernel="linear"), r"6, expected 1\.\.5"),
        (lambda s, t: subspace.tca(s, t, 2, mu=0), "mu is 0"),
        (lambda s, t: subspace.tca(s, t, 2, gamma=-1), "gamma -1"),
        (lambda s, t: subspace.coral(s * np.nan, t), "source features: row 0"),
        (
            lambda s, t: subspace.coral(s, t, target_weight=np.zeros(50)),
            "every weight is zero",
        ),
        (lambda s, t: subspace.consistent_dimension(s, t, delta=2), "delta 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*domains())


def test_an_unknown_kernel_names_the_nearest():
    with pytest.raises(NoMatch, match="'rbv' matches nothing; nearest: rbf"):
        subspace.tca(*domains(), 2, kernel="rbv")
