"""Losses of adversaries against loops over rows and numbers in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tl_jax.losses import adversarial as a

WEIGHT = np.array([1, 0.5, 2, 0], "f")


def drawn(*shape, seed=0, scale=2.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("f")


def softmax(row):
    parts = [np.exp(np.float64(x)) for x in row]
    return [part / sum(parts) for part in parts]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


def mean(values, weight):
    total = sum(np.float64(w) for w in weight)
    return sum(np.float64(w) * v for v, w in zip(values, weight, strict=True)) / total


def test_reversal_is_the_identity_with_a_turned_gradient():
    x, strength = jnp.asarray(drawn(5, scale=1e3)), jnp.float32(0.37)
    np.testing.assert_array_equal(a.reverse(x, strength), x)

    def value(x, s):
        return jnp.sin(a.reverse(x, s) / 1e3).sum()

    slope = jax.grad(lambda x: jnp.sin(x / 1e3).sum())(x)
    np.testing.assert_allclose(jax.grad(value)(x, strength), -0.37 * slope, rtol=1e-6)
    assert jax.grad(value, 1)(x, strength) == 0  # data, that nobody may tune this way


def test_reversals_gradient_can_be_differentiated_again():
    """The derivative of -s f'(x) reverses once more: s^2 f''(x)."""
    x = jnp.float32(0.7)
    second = jax.grad(jax.grad(lambda x: a.reverse(x, 0.5) ** 3))(x)
    np.testing.assert_allclose(second, 0.25 * 6 * 0.7, rtol=1e-6)
    forward = jax.jvp(jax.grad(lambda x: a.reverse(x, 0.5) ** 3), (x,), (1.0,))[1]
    np.testing.assert_allclose(forward, second, rtol=1e-6)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_the_ramp_is_the_papers(p):
    np.testing.assert_allclose(
        a.ramp(p), 2 / (1 + np.exp(-10 * p)) - 1, rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(
        a.ramp(p, 1.0, 0.5, 2.0), 0.5 + 1.5 * (2 / (1 + np.exp(-p)) - 1), rtol=1e-6
    )


def test_domain_losses_are_those_of_loops():
    ours, theirs = drawn(4, 1), drawn(3, 1, seed=1)
    rows = [-np.log(sigmoid(x[0])) for x in ours]
    others = [-np.log(1 - sigmoid(x[0])) for x in theirs]
    expected = (mean(rows, WEIGHT) + mean(others, np.ones(3))) / 2
    np.testing.assert_allclose(
        a.domain_loss(ours, theirs, WEIGHT, None), expected, rtol=1e-5
    )
    shown = a.domain_loss(ours[:3], theirs, WEIGHT[:3], jnp.ones(3))
    np.testing.assert_allclose(shown, expected, rtol=1e-5)
    np.testing.assert_allclose(
        a.domain_accuracy(ours, theirs, WEIGHT),
        (mean([x[0] > 0 for x in ours], WEIGHT) + np.mean(theirs <= 0)) / 2,
        rtol=1e-6,
    )


def test_two_logits_are_the_odds_of_one():
    two = drawn(4, 2)
    expected = [-np.log(softmax(row)[1]) for row in two]
    np.testing.assert_allclose(a.domain_cross_entropy(two, True), expected, rtol=1e-5)
    one = two[:, 1] - two[:, 0]
    np.testing.assert_allclose(a.domain_cross_entropy(one, 1.0), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"critic of 3 logits, expected 1 or 2"):
        a.domain_cross_entropy(drawn(4, 3), True)


def test_a_sure_critic_costs_a_finite_loss_with_a_finite_slope():
    logits = jnp.array([1e4, -1e4])
    value, slope = jax.value_and_grad(lambda x: a.domain_cross_entropy(x, 0.0).sum())(
        logits
    )
    np.testing.assert_allclose(value, 1e4)
    np.testing.assert_allclose(slope, [1, 0], atol=1e-6)


def test_cdans_maps_are_those_of_loops():
    features, shares = drawn(4, 3), np.array([softmax(r) for r in drawn(4, 2)], "f")
    found = a.outer(features, shares)
    for i in range(4):
        for c in range(2):
            for d in range(3):
                expected = features[i, d] * shares[i, c]
                np.testing.assert_allclose(found[i, c * 3 + d], expected, rtol=1e-6)
    maps = a.random_maps(jax.random.key(0), 3, 2, 5)
    found = a.random_outer(features, shares, maps)
    for i in range(4):
        for s in range(5):
            one = sum(features[i, d] * float(maps[0][d, s]) for d in range(3))
            two = sum(shares[i, c] * float(maps[1][c, s]) for c in range(2))
            np.testing.assert_allclose(found[i, s], one * two / 5**0.5, rtol=1e-4)


def test_random_maps_keep_scalar_products_on_average():
    features, shares = drawn(2, 6, seed=3), np.array([[0.9, 0.1], [0.6, 0.4]], "f")
    maps = a.random_maps(jax.random.key(0), 6, 2, 200_000)
    near, far = a.random_outer(features, shares, maps), a.outer(features, shares)
    np.testing.assert_allclose(near @ near.T, far @ far.T, rtol=0.05)


def test_entropies_and_their_weights_are_those_of_loops():
    logits = drawn(4, 3)
    expected = [-sum(p * np.log(p) for p in softmax(row)) for row in logits]
    np.testing.assert_allclose(a.entropy(logits), expected, rtol=1e-5)
    weights = a.entropy_weights(logits)
    np.testing.assert_allclose(weights, 1 + np.exp(-np.array(expected)), rtol=1e-5)
    sure = jnp.array([[200.0, 0.0, -200.0]])
    np.testing.assert_allclose(a.entropy(sure), [0], atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: a.entropy(x).sum())(sure)).all()
    assert not jax.grad(lambda x: a.entropy_weights(x).sum())(jnp.asarray(logits)).any()


def test_the_discrepancy_of_classifiers_is_that_of_a_loop():
    one, two = drawn(4, 3), drawn(4, 3, seed=1)
    expected = [
        sum(abs(p - q) for p, q in zip(softmax(x), softmax(y), strict=True)) / 3
        for x, y in zip(one, two, strict=True)
    ]
    np.testing.assert_allclose(a.classifier_discrepancy(one, two), expected, rtol=1e-5)
    np.testing.assert_array_equal(a.classifier_discrepancy(one, one), np.zeros(4))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_balance_is_that_of_a_loop(weight):
    logits = drawn(4, 3)
    used = np.ones(4) if weight is None else weight
    shares = np.array([softmax(row) for row in logits])
    means = [mean(shares[:, c], used) for c in range(3)]
    expected = -sum(np.log(m + 1e-6) for m in means) / 3
    np.testing.assert_allclose(a.balance(logits, weight), expected, rtol=1e-5)
    even = a.balance(np.zeros((4, 3), "f"))
    assert even < a.balance(np.tile(np.array([9, 0, 0], "f"), (4, 1)))


def test_margins_are_those_of_loops():
    logits, adversary = drawn(4, 3), drawn(4, 3, seed=1)
    said = logits.argmax(1)
    shares = [softmax(row)[y] for row, y in zip(adversary, said, strict=True)]
    np.testing.assert_allclose(
        a.disparity(logits, adversary), -np.log(shares), rtol=1e-5
    )
    np.testing.assert_allclose(
        a.margin(logits, adversary), -np.log1p(-np.array(shares)), rtol=1e-5
    )


def test_margins_stay_finite_and_teach_the_adversary_alone():
    logits = jnp.array([[9.0, 0.0]])
    sure = jnp.array([[300.0, 0.0]])
    value, slope = jax.value_and_grad(lambda q: a.margin(logits, q).sum())(sure)
    np.testing.assert_allclose(value, 300, rtol=1e-6)
    np.testing.assert_allclose(slope, [[1, -1]], atol=1e-6)
    for loss in (a.disparity, a.margin):
        assert not jax.grad(lambda y, f=loss: f(y, sure).sum())(logits).any()


def test_wasserstein_is_a_difference_of_means():
    ours, theirs = drawn(4, 1), drawn(3, seed=1)
    found = a.wasserstein(ours, theirs, WEIGHT)
    np.testing.assert_allclose(found, mean(ours[:, 0], WEIGHT) - theirs.mean(), 1e-5)
    with pytest.raises(ValueError, match=r"2 values, expected 1"):
        a.wasserstein(drawn(4, 2), theirs)


def test_the_penalty_is_that_of_slopes_by_differences():
    x, w = drawn(4, 3), np.float64(drawn(3, 1, seed=1, scale=1.0))
    found = a.gradient_penalty(lambda rows: jnp.tanh(rows @ w.astype("f")), x, WEIGHT)

    def f(row):
        return np.tanh(np.float64(row) @ w)[0]

    rows = []
    for row in np.float64(x):
        steps = [1e-6 * np.eye(3)[d] for d in range(3)]
        slope = [(f(row + step) - f(row - step)) / 2e-6 for step in steps]
        rows.append((np.linalg.norm(slope) - 1) ** 2)
    np.testing.assert_allclose(found, mean(rows, WEIGHT), rtol=1e-5)


def test_the_penalty_of_a_flat_critic_is_one_and_has_a_slope():
    x = jnp.ones((2, 3))

    def penalty(c):
        return a.gradient_penalty(lambda rows: (rows * c).sum(1), x)

    value, slope = jax.value_and_grad(penalty)(jnp.float32(0))
    assert value == 1
    assert np.isfinite(slope)


def test_points_between_lie_on_the_lines():
    ours, theirs = drawn(4, 2), drawn(3, 2, seed=1)
    points = np.asarray(a.between(jax.random.key(0), ours, theirs))
    assert points.shape == (4, 2)
    for i, point in enumerate(points):
        own, other = ours[i], theirs[i % 3]
        share = (point - own) / (other - own)
        np.testing.assert_allclose(share[0], share[1], rtol=1e-3)
        assert 0 <= share[0] <= 1


VALUES = {
    "domain": lambda x: a.domain_loss(x[:, :1], x[:, 1:2]),
    "entropy": lambda x: a.entropy(x).sum(),
    "balance": a.balance,
    "disparity": lambda x: a.disparity(drawn(4, 3), x).sum(),
    "margin": lambda x: a.margin(drawn(4, 3), x).sum(),
    "discrepancy": lambda x: a.classifier_discrepancy(x, drawn(4, 3, seed=5)).sum(),
    "penalty": lambda x: a.gradient_penalty(lambda r: jnp.tanh(r).sum(1), x),
}


@pytest.mark.parametrize("name", VALUES)
def test_gradients_of_both_orders_are_those_of_differences(name):
    x = jnp.asarray(drawn(4, 3, scale=1.0))
    check_grads(VALUES[name], (x,), 2, modes=("rev",), rtol=2e-2, atol=2e-2)
    stacked = jnp.stack([x, 2 * x])
    several = jax.vmap(jax.jit(VALUES[name]))(stacked)
    singly = [VALUES[name](one) for one in stacked]
    np.testing.assert_allclose(several, singly, rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, w: a.domain_loss(x[:, :1], x[:, :1], w, w),
        lambda x, w: a.wasserstein(x[:, 0], x[:, 1], w, w),
        lambda x, w: a.balance(x, w),
        lambda x, w: a.gradient_penalty(lambda r: jnp.tanh(r).sum(1), x, w),
        lambda x, w: a.weighted_mean(a.entropy(x), w),
    ],
)
def test_rows_without_weight_change_nothing(loss):
    x, weight = drawn(5, 3), jnp.array([1, 2, 0.5, 0, 0])
    wild = x.copy()
    wild[3:] = 1e6
    np.testing.assert_array_equal(loss(x, weight), loss(wild, weight))
    np.testing.assert_allclose(loss(x, weight), loss(x[:3], weight[:3]), rtol=1e-6)
    assert np.isfinite(loss(x, jnp.zeros(5)))
