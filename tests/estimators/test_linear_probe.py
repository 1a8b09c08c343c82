import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from tl_jax.estimators import fit
from tl_jax.estimators.linear_probe import STRENGTHS


@pytest.fixture(scope="module")
def digits():
    features, labels = load_digits(return_X_y=True)
    return features.astype(np.float32), labels


def small(seed=0, count=60, width=4, classes=3):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, width))
    labels = np.arange(count) % classes
    noise = rng.normal(size=(count, width))
    return (centres[labels] + noise).astype(np.float32), labels


def reference(features, labels, strength, weight=None, classes=None):
    """scikit-learn on features made standard by hand, as kernel and bias on raw."""
    x = features.astype(np.float64)
    w = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    mean = np.average(x, axis=0, weights=w)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    deviation = np.where(deviation == 0, 1.0, deviation)
    twice = 2 if len(np.unique(labels)) == 2 else 1
    model = LogisticRegression(C=twice / (strength * w.sum()), tol=1e-9, max_iter=10000)
    model.fit((x - mean) / deviation, labels, sample_weight=w)
    return lambda new: model.predict_proba((new - mean) / deviation)


def probabilities(probe, features):
    return jax.nn.softmax(features @ probe.kernel + probe.bias)


@pytest.mark.parametrize("strength, close", [(1.0, 2e-5), (1e-2, 1e-4), (1e-3, 3e-4)])
def test_equals_scikit_learn_on_digits(digits, strength, close):
    x, y = digits
    probe = fit(x[:1200], y[:1200], classes=10, strengths=(strength,))
    assert probe.converged
    want = reference(x[:1200], y[:1200], strength)(x[1200:])
    np.testing.assert_allclose(probabilities(probe, x[1200:]), want, atol=close)


def test_equals_scikit_learn_with_two_classes():
    x, y = small(classes=2)
    probe = fit(x, y, classes=2, strengths=(0.05,))
    want = reference(x, y, 0.05)(x)
    np.testing.assert_allclose(probabilities(probe, x), want, atol=2e-5)


def test_validation_chooses_and_every_score_is_told(digits):
    x, y = digits
    train, held = (x[:1200], y[:1200]), (x[1200:], y[1200:])
    strengths = (0.1, 10.0, 1e-2)
    probe = fit(*train, classes=10, validation=held, strengths=strengths)
    for strength, score in zip(strengths, probe.scores, strict=True):
        alone = fit(*train, classes=10, validation=held, strengths=(strength,))
        np.testing.assert_allclose(score, alone.scores[0], atol=0.003)
    assert probe.strength == np.float32(strengths[int(np.argmax(probe.scores))])
    right = probabilities(probe, held[0]).argmax(1) == held[1]
    assert right.mean() == pytest.approx(float(probe.scores.max()))


def test_of_equal_scores_the_strongest_penalty_wins():
    x = np.array([[-1.0], [-1.1], [1.0], [1.1]], np.float32)
    y = np.array([0, 0, 1, 1])
    for strengths in ((0.1, 1.0, 0.01), (1.0, 0.01, 0.1)):
        probe = fit(x, y, classes=2, validation=(x, y), strengths=strengths)
        np.testing.assert_array_equal(probe.scores, 1.0)
        assert probe.strength == 1.0


def test_a_weight_is_a_number_of_copies():
    x, y = small()
    weight = np.arange(len(x)) % 3
    copies = np.repeat(np.arange(len(x)), weight)
    got = fit(x, y, classes=3, strengths=(0.1,), weight=weight.astype(np.float32))
    want = fit(x[copies], y[copies], classes=3, strengths=(0.1,))
    np.testing.assert_allclose(probabilities(got, x), probabilities(want, x), atol=1e-5)
    sk = reference(x, y, 0.1, weight)(x)
    np.testing.assert_allclose(probabilities(got, x), sk, atol=2e-5)


def test_rows_of_weight_zero_have_no_say():
    x, y = small()
    junk = np.concatenate([x, np.full((5, 4), 1e6, np.float32)])
    weight = np.r_[np.ones(60), np.zeros(5)].astype(np.float32)
    got = fit(
        junk, np.r_[y, np.zeros(5, int)], classes=3, strengths=(0.1,), weight=weight
    )
    want = fit(x, y, classes=3, strengths=(0.1,))
    np.testing.assert_allclose(got.kernel, want.kernel, atol=1e-4)


def test_units_do_not_matter_and_constants_get_no_weight():
    x, y = small()
    plain = fit(x, y, classes=3, strengths=(0.1,))
    scaled = x * np.array([1e-3, 1.0, 1e3, 10.0], np.float32) + 5.0
    constant = np.full((len(x), 2), [0.1, 12345.678], np.float32)
    wide = np.concatenate([scaled, constant], 1)
    probe = fit(wide, y, classes=3, strengths=(0.1,))
    np.testing.assert_array_equal(probe.kernel[4:], 0.0)
    np.testing.assert_allclose(
        probabilities(probe, wide), probabilities(plain, x), atol=2e-3
    )


def test_the_bias_bears_no_penalty():
    x, y = small(count=90)
    y = np.where(np.arange(90) < 60, 0, y)
    probe = fit(x, y, classes=3, strengths=(1e3,))
    shares = np.bincount(y) / 90
    np.testing.assert_allclose(probabilities(probe, x).mean(0), shares, atol=1e-4)
    np.testing.assert_allclose(probe.kernel, 0.0, atol=1e-3)


def test_compiled_equals_eager_and_a_class_may_be_absent():
    x, y = small()
    call = functools.partial(fit, classes=5, strengths=(0.1, 1.0))
    eager = call(x, y, validation=(x, y))
    compiled = jax.jit(lambda x, y: call(x, y, validation=(x, y)))(x, y)
    assert eager.kernel.shape == (4, 5)
    np.testing.assert_allclose(compiled.kernel, eager.kernel, atol=1e-4)
    assert probabilities(eager, x)[:, 3:].max() < 1e-3


def test_bfloat16_features_are_fitted_in_float32():
    x, y = small()
    half = jnp.asarray(x, jnp.bfloat16)
    probe = fit(half, y, classes=3, strengths=(0.1,))
    want = fit(np.asarray(half, np.float32), y, classes=3, strengths=(0.1,))
    assert probe.kernel.dtype == jnp.float32
    np.testing.assert_array_equal(probe.kernel, want.kernel)


def test_too_few_steps_are_told():
    x, y = small()
    assert not fit(x, y, classes=3, strengths=(1e-3,), steps=2).converged


def bad(**change):
    x, y = small()
    arguments = {"features": x, "labels": y, "classes": 3, "strengths": (0.1,)}
    return arguments | {k: v(x, y) if callable(v) else v for k, v in change.items()}


def with_nan(x, y):
    return np.where(np.arange(60)[:, None] == 7, np.nan, x)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": with_nan}, "features: row 7 has a NaN"),
        (
            {"labels": lambda x, y: np.where(y == 2, 3, y)},
            r"row 2 is 3, expected 0\.\.2",
        ),
        ({"labels": lambda x, y: y - 1}, r"row 0 is -1"),
        ({"labels": lambda x, y: y * 1.0}, "float64, expected integers"),
        ({"labels": lambda x, y: y * 0}, r"one class only \(0\)"),
        ({"labels": lambda x, y: y[:-1]}, "60 rows of features"),
        ({"features": lambda x, y: x[:, 0]}, r"expected \[N D\]"),
        ({"strengths": STRENGTHS}, "11 strengths need validation"),
        ({"strengths": ()}, "strengths is empty"),
        ({"strengths": (0.0,)}, "strength 0.0 is not positive"),
        ({"weight": lambda x, y: -np.ones(60)}, "weight of row 0 is -1"),
        ({"weight": lambda x, y: np.zeros(60)}, "every weight is zero"),
        ({"weight": lambda x, y: (y == 1) * 1.0}, r"one class only \(1\)"),
        ({"weight": lambda x, y: np.ones(59)}, r"weight has shape \(59,\)"),
        ({"validation": lambda x, y: (x[:, :2], y)}, "2 wide, training features 4"),
        (
            {"validation": lambda x, y: (with_nan(x, y), y)},
            "validation features: row 7",
        ),
        ({"validation": lambda x, y: (x, y + 1)}, "validation labels: row 2 is 3"),
    ],
)
def test_bad_input_raises(change, message):
    with pytest.raises(ValueError, match=message):
        fit(**bad(**change))
