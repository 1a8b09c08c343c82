"""The toy of a shifted curve: what a line can do on it, and what weights do for it."""

import numpy as np
import pytest

from tl_jax import data
from tl_jax.data import shift_toy
from tl_jax.estimators import weighting as w


def line(x, y, weight):
    design = np.stack([np.ones(len(x)), x[:, 0]], 1)
    return np.linalg.solve(
        design.T @ (design * weight[:, None]), design.T @ (y * weight)
    )


def test_the_population_s_lines_are_the_published_ones():
    plain = shift_toy.population_line("train")
    best = shift_toy.population_line("test")
    np.testing.assert_allclose(plain, (-0.25, 0.5))
    np.testing.assert_allclose(best, (0, -0.73), atol=1e-15)
    assert shift_toy.excess_error(*plain) == pytest.approx(0.203, abs=1e-3)
    assert shift_toy.excess_error(*best) == pytest.approx(0.0044, abs=1e-4)


def test_many_rows_come_near_the_population():
    rng = np.random.default_rng(0)
    x, y = shift_toy.draw("train", 400_000, rng)
    test, truth = shift_toy.draw("test", 400_000, rng)
    np.testing.assert_allclose(line(x, y, np.ones(len(x))), (-0.25, 0.5), atol=0.01)
    ratio = shift_toy.true_ratio(x)
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(line(x, y, ratio), (0, -0.73), atol=0.02)
    guess = 0.1 - 0.4 * test[:, 0]
    own = shift_toy.excess_error(0.1, -0.4)
    assert ((truth - guess) ** 2).mean() - 0.09 == pytest.approx(own, abs=2e-3)


METHODS = {
    "kmm": lambda s, t: w.kmm(s, t, bound=10),
    "kliep": lambda s, t: w.kliep(s, t, sigmas=(0.1, 0.2, 0.4)),
    "ulsif": lambda s, t: w.ulsif(s, t, sigmas=(0.1, 0.2, 0.4)),
    "rulsif": lambda s, t: w.rulsif(s, t, sigmas=(0.1, 0.2, 0.4)),
    "propensity": lambda s, t: w.propensity(s, t, quadratic=True),
    "nearest": w.nearest,
}


@pytest.mark.parametrize("name", METHODS)
def test_a_hundred_rows_are_enough(name):
    """Mean excess error of ten draws at most .02, against .17 without weights."""
    errors, sizes, plain = [], [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x, y = shift_toy.draw("train", 100, rng)
        target, _ = shift_toy.draw("test", 100, rng)
        values = METHODS[name](x, target).values
        errors.append(shift_toy.excess_error(*line(x, y, values)))
        plain.append(shift_toy.excess_error(*line(x, y, np.ones(100))))
        sizes.append(w.effective_size(values))
    assert np.mean(errors) <= 0.02
    assert np.mean(plain) > 0.1
    assert 10 < np.mean(sizes) < 70


def test_rows_of_the_catalogue_are_always_the_same():
    train, test = (data.load(f"shift-toy/{side}") for side in ("train", "test"))
    np.testing.assert_array_equal(
        train.inputs["features"], data.load("shift-toy/train").inputs["features"]
    )
    assert test.splits["test"].tolist() == list(range(2_000, 7_000))
    assert abs(train.inputs["features"].mean() - 0.5) < 0.04
    assert abs(test.inputs["features"].std() - 0.3) < 0.01
