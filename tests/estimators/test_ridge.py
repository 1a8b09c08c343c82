import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from tl_jax.estimators import ridge

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype(np.float32) * [1, 10, 0.1] + [0, 5, 1]
X = X.astype(np.float32)
Y = (X @ [1.0, 0.2, -3.0] + RNG.normal(size=20)).astype(np.float32)
W = RNG.integers(1, 4, size=20).astype(np.float32)


def standard(x, w):
    mean = np.average(x, axis=0, weights=w)
    return mean, np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))


@pytest.mark.parametrize("weight", [None, W])
def test_equals_scikit_learn(weight):
    w = np.ones(20) if weight is None else weight
    mean, deviation = standard(X, w)
    model = Ridge(alpha=0.3 * w.sum()).fit((X - mean) / deviation, Y, sample_weight=w)
    probe = ridge(X, Y, (0.3,), weight=weight)
    assert probe.kernel.shape == (3, 1)
    want = model.predict((X - mean) / deviation)
    np.testing.assert_allclose((X @ probe.kernel + probe.bias)[:, 0], want, rtol=1e-4)


@pytest.mark.parametrize("weight", [None, W])
@pytest.mark.parametrize("rows", [20, 3])
def test_leave_one_out_equals_the_loop_that_leaves_one_out(rows, weight):
    x, y = X[:rows], Y[:rows]
    w = (np.ones(20) if weight is None else weight)[:rows].astype(np.float64)
    mean, deviation = standard(x.astype(np.float64), w)
    z = (x - mean) / deviation
    strengths = (0.01, 0.3, 5.0)
    scores = []
    for strength in strengths:
        errors = []
        for out in range(rows):
            rest = np.arange(rows) != out
            model = Ridge(alpha=strength * w.sum(), solver="svd")
            model.fit(z[rest], y[rest], sample_weight=w[rest])
            errors.append((model.predict(z[out : out + 1])[0] - y[out]) ** 2)
        scores.append(-np.average(errors, weights=w))
    probe = ridge(x, y, strengths, weight=None if weight is None else w)
    np.testing.assert_allclose(probe.scores, scores, rtol=1e-3)
    assert probe.strength == np.float32(strengths[np.argmax(scores)])
    assert probe.converged


def test_validation_chooses():
    strengths = (1e-3, 0.1, 10.0)
    held = (X[12:], Y[12:])
    probe = ridge(X[:12], Y[:12], strengths, held)
    for strength, score in zip(strengths, probe.scores, strict=True):
        alone = ridge(X[:12], Y[:12], (strength,), held)
        guess = np.asarray(held[0] @ alone.kernel + alone.bias)[:, 0]
        np.testing.assert_allclose(score, -np.mean((guess - held[1]) ** 2), rtol=1e-4)
    assert probe.strength == np.float32(strengths[int(np.argmax(probe.scores))])


def test_several_targets_at_once_and_compiled():
    both = np.stack([Y, -2 * Y], 1)
    probe = ridge(X, both, (0.3,))
    one = ridge(X, Y, (0.3,))
    np.testing.assert_allclose(probe.kernel[:, :1], one.kernel, rtol=1e-4)
    np.testing.assert_allclose(probe.kernel[:, 1:], -2 * one.kernel, rtol=1e-4)
    compiled = jax.jit(lambda x, y: ridge(x, y, (0.3,)))(X, both)
    np.testing.assert_allclose(compiled.kernel, probe.kernel, rtol=1e-4)


def test_more_features_than_rows_and_constant_ones():
    wide = RNG.normal(size=(10, 30)).astype(np.float32)
    wide[:, 4] = 7.0
    probe = ridge(wide, Y[:10], (0.1, 1.0))
    assert np.isfinite(probe.scores).all()
    assert probe.kernel[4] == 0


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ridge(X, Y[:-1], (1.0,)), "20 rows of features"),
        (
            lambda: ridge(X, np.where(np.arange(20) == 3, np.nan, Y), (1.0,)),
            "targets: row 3",
        ),
        (lambda: ridge(X[:1], Y[:1], (1.0,)), "at least two"),
        (lambda: ridge(X, Y, (-1.0,)), "strength -1.0"),
        (lambda: ridge(X, Y, (1.0,), (X, np.stack([Y, Y], 1))), "2 columns"),
        (lambda: ridge(X, Y[:, None, None], (1.0,)), r"expected \[N\] or \[N C\]"),
    ],
)
def test_bad_input_raises(call, message):
    with pytest.raises(ValueError, match=message):
        call()
