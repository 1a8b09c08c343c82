"""CORAL and central moments against loops."""

import jax
import numpy as np
import pytest
from two_sets import WEIGHTS, drawn

from tl_jax.losses.discrepancy import cmd, coral


def covariance(x, weight):
    """sum_i w_i (x - m)(x - m)^T / (W - sum w^2 / W), row by row."""
    x, total = x.astype(np.float64), weight.sum()
    mean = sum(w * row for w, row in zip(weight, x, strict=True)) / total
    found = sum(
        w * np.outer(row - mean, row - mean) for w, row in zip(weight, x, strict=True)
    )
    return found / (total - (weight**2).sum() / total), mean


@pytest.mark.parametrize("width", [3, 30])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("means", [False, True])
def test_coral_is_that_of_loops(means, weighted, width):
    """By products of features and, where there are more of them, of rows."""
    source, target = drawn(width=width)
    first, second = WEIGHTS if weighted else (np.ones(6), np.ones(5))
    (one, mean), (two, other) = covariance(source, first), covariance(target, second)
    wanted = 0.0
    for i in range(width):
        for j in range(width):
            wanted += (one[i, j] - two[i, j]) ** 2 / (4 * width**2)
        if means:
            wanted += (mean[i] - other[i]) ** 2 / width
    given = (first, second) if weighted else ()
    found = coral(source, target, *given, means=means)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("width", [3, 30])
def test_coral_does_not_see_means_or_turns(width):
    source, target = drawn(width=width)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(width, width)))
    turned = coral((source @ turn + 3).astype("f"), (target @ turn - 2).astype("f"))
    np.testing.assert_allclose(turned, coral(source, target), rtol=1e-4)


@pytest.mark.parametrize("loss, fewest", [(coral, 2), (cmd, 1)])
def test_too_few_rows_say_nothing(loss, fewest):
    source, target = drawn()
    for rows in (0, 1, 2):
        weight = (np.arange(6) < rows).astype("f")
        found, slope = jax.value_and_grad(lambda s, w=weight: loss(s, target, w))(
            source
        )
        assert (found == 0) == (rows < fewest)
        assert np.isfinite(slope).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("moments, span", [(1, 1.0), (5, 1.0), (4, 3.0)])
def test_central_moments_are_those_of_loops(moments, span, weighted):
    source, target = drawn()
    first, second = WEIGHTS if weighted else (np.ones(6), np.ones(5))

    def moment(x, weight, k):
        mean = np.average(x, axis=0, weights=weight) if k > 1 else 0
        powers = [(row - mean) ** k for row in x.astype(np.float64)]
        return sum(w * p for w, p in zip(weight, powers, strict=True)) / weight.sum()

    wanted = 0.0
    for k in range(1, moments + 1):
        off = moment(source, first, k) - moment(target, second, k)
        wanted += np.sqrt(sum(off**2)) / span**k
    given = (first, second) if weighted else ()
    found = cmd(source, target, *given, moments=moments, span=span)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_equal_sets_have_equal_moments_and_no_slope():
    source, _ = drawn()
    value, slope = jax.value_and_grad(cmd)(source, source)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_bad_input():
    source, target = drawn()
    with pytest.raises(ValueError, match="coral: source has 1 rows"):
        coral(source[:1], target)
    with pytest.raises(ValueError, match="coral: source has 4 features, target 2"):
        coral(source, target[:, :2])
    with pytest.raises(ValueError, match="cmd: moments is 0"):
        cmd(source, target, moments=0)
    with pytest.raises(ValueError, match="cmd: span is 0"):
        cmd(source, target, span=0)
