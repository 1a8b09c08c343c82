import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tl_jax.metrics import domain_classifier, symmetric
from tl_jax.metrics.divergence import (
    CLASSIFIERS,
    h_divergence,
    kernel,
    proxy_a_distance,
)

FEW = (1.0, 0.1)


def gaussians(shift, *, spread=1.0, count=120, width=3, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(count, width))
    target = rng.normal(size=(count - 20, width)) * np.array(
        [spread, *[1] * (width - 1)]
    )
    return source, target + np.array([shift, *[0] * (width - 1)])


def test_far_apart_is_two_and_the_same_is_nearly_none():
    far = proxy_a_distance(*gaussians(20), strengths=FEW)
    assert (far.value, far.low, far.high, far.errors) == (2, 2, 2, (0, 0))
    same = proxy_a_distance(*gaussians(0), strengths=FEW)
    assert 0 <= same.low <= same.value < 0.35
    assert (same.rows, same.dimension) == ((120, 100), 3)


def test_never_below_zero():
    """Held-out errors above one half are chance, not a distance."""
    for seed in range(6):
        found = proxy_a_distance(*gaussians(0, count=40, seed=seed), strengths=FEW)
        if sum(found.errors) >= 1:
            assert found.value == 0
            return
    pytest.fail("no seed had errors above chance: the test shows nothing")


def test_of_gaussians_it_is_what_theory_says():
    """The best halfspace between N(0, 1) and N(1, 1) errs on Phi(-1/2) of rows."""
    found = proxy_a_distance(*gaussians(1, count=1500), strengths=FEW)
    assert found.value == pytest.approx(2 * (1 - 2 * 0.30854), abs=0.08)
    assert found.low < found.value < found.high


def test_sizes_do_not_matter():
    """One row in seven of the target, and still both errors count alike."""
    source, target = gaussians(1, count=1500)
    found = proxy_a_distance(source, target[:200], strengths=FEW)
    assert found.value == pytest.approx(2 * (1 - 2 * 0.30854), abs=0.25)
    assert max(found.errors) < 0.42


def test_what_no_half_space_tells_apart():
    """A wider target: a kernel does, and so does the difference of two half-spaces."""
    pair = gaussians(0, spread=8, count=400)
    found = {
        name: proxy_a_distance(*pair, classifier=name, strengths=FEW, folds=2).value
        for name in CLASSIFIERS
    }
    assert found["linear"] < 0.35
    assert found["product"] > 1.1
    assert found["kernel"] > 0.9


def test_in_sample_is_more_than_held_out():
    pair = gaussians(0, count=60, width=12)
    inside = h_divergence(*pair, strengths=FEW).value
    assert inside > proxy_a_distance(*pair, strengths=FEW).value + 0.2


def test_the_same_bits_for_the_same_seed():
    pair = gaussians(1, count=60)
    one, two = (proxy_a_distance(*pair, strengths=FEW, seed=5) for _ in range(2))
    assert one == two


def test_the_classifier_is_scikit_learns():
    """With weights that make both domains alike; C = 1 / strength, of weights of 1."""
    domains = domain_classifier.stacked(*gaussians(1))
    (found,) = domain_classifier.path(domains, np.ones(220, bool), (0.1,))
    weight = np.where(domains.is_target, 0.5 / 100, 0.5 / 120)
    z = domains.rows - weight @ domains.rows
    z = z / np.sqrt(weight @ z**2)
    other = LogisticRegression(C=1 / 0.1, tol=1e-8)
    want = other.fit(z, domains.is_target, sample_weight=weight).decision_function(z)
    np.testing.assert_allclose(found(domains.rows), want, atol=2e-5)


@pytest.mark.parametrize("name", ["linear", "product"])
def test_gradients_by_differences(name):
    module = {"linear": domain_classifier, "product": symmetric}[name]
    space = domain_classifier.standardised(
        domain_classifier.stacked(*gaussians(1)), np.ones(220, bool)
    )
    x = np.random.default_rng(0).normal(size={"linear": 4, "product": 8}[name])
    _, slope = module._objective(x, space, 0.3)
    for i, step in enumerate(1e-5 * np.eye(len(x))):
        ends = [module._objective(x + s, space, 0.3)[0] for s in (step, -step)]
        assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-8)


def test_rows_left_out_change_nothing():
    domains = domain_classifier.stacked(*gaussians(1))
    used = np.arange(220) % 3 > 0
    other = domains._replace(rows=np.where(used[:, None], domains.rows, 1e3))
    one, two = (domain_classifier.path(d, used, (0.1,))[0] for d in (domains, other))
    np.testing.assert_array_equal(one(domains.rows), two(domains.rows))


def test_a_constant_column_says_nothing():
    source, target = (
        np.pad(x, ((0, 0), (0, 1)), constant_values=7.0) for x in gaussians(1)
    )
    domains = domain_classifier.stacked(source, target)
    (found,) = domain_classifier.path(domains, np.ones(220, bool), (0.1,))
    assert found.kernel[-1] == 0


def test_waves_make_a_gaussian_kernel():
    """Their products are exp(-d^2 / (2 width^2)), the width the median distance."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4))
    mapped = kernel(rows, rng)(rows)
    z = (rows - rows.mean(0)) / rows.std(0)
    apart = ((z[:, None] - z) ** 2).sum(-1)
    width = np.median(apart[np.triu_indices(60, 1)])
    assert np.abs(mapped @ mapped.T - np.exp(-apart / (2 * width))).mean() < 0.08


def test_bad_input():
    good, other = gaussians(1, count=40)
    with pytest.raises(ValueError, match="'svm', expected one of linear, kernel, prod"):
        proxy_a_distance(good, other, classifier="svm")
    with pytest.raises(ValueError, match="3 wide, target features 2"):
        proxy_a_distance(good, other[:, :2])
    bad = np.where(np.arange(20)[:, None] == 1, np.nan, other)
    with pytest.raises(ValueError, match="target features: row 1 has a NaN"):
        proxy_a_distance(good, bad)
    with pytest.raises(ValueError, match="folds is 9 with 40 source and 20 target"):
        proxy_a_distance(good, other, folds=9)
    with pytest.raises(ValueError, match=r"\(4, 3\).*at least 8 rows"):
        h_divergence(good[:4], other)
