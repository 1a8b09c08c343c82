"""The covariate shift of a curve that is fitted by a line (Shimodaira, 2000)."""

from typing import Literal, NamedTuple

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

ROWS = {"train": 2_000, "test": 7_000}
SEEN = 2_000
"""Rows of the test side that adaptation may see; the others judge."""
NOISE = 0.3
SEEDS = {"train": 0, "test": 1}


class Normal(NamedTuple):
    """Where inputs come from."""

    mean: float
    deviation: float


SIDES = {"train": Normal(0.5, 0.5), "test": Normal(0.0, 0.3)}


def curve(x: np.ndarray) -> np.ndarray:
    """-x + x^3"""
    return x**3 - x


def draw(
    side: Literal["train", "test"], rows: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(x [N 1], y [N]) with y = -x + x^3 + e, e normal of deviation 0.3."""
    normal = SIDES[side]
    x = rng.normal(normal.mean, normal.deviation, (rows, 1))
    return x, curve(x[:, 0]) + NOISE * rng.normal(size=rows)


def true_ratio(x: np.ndarray) -> np.ndarray:
    """Density of test over density of train [N]. x [N 1]."""
    train, test = SIDES["train"], SIDES["test"]
    far = [(x[:, 0] - n.mean) / n.deviation for n in (train, test)]
    return train.deviation / test.deviation * np.exp((far[0] ** 2 - far[1] ** 2) / 2)


def population_line(side: Literal["train", "test"]) -> tuple[float, float]:
    """(Intercept, slope) of the line of least squared error under one side.

    Stein's lemma: the slope is E[3 x^2 - 1]; E[x^3] = m^3 + 3 m s^2.
    """
    mean, deviation = SIDES[side]
    slope = 3 * (mean**2 + deviation**2) - 1
    middle = mean**3 + 3 * mean * deviation**2 - mean
    return middle - slope * mean, slope


def excess_error(intercept: float, slope: float) -> float:
    """E_test (-x + x^3 - intercept - slope x)^2, without the noise's 0.09.

    Test inputs are normal of mean 0: E x^2 = v, E x^4 = 3 v^2, E x^6 = 15 v^3.
    """
    v = SIDES["test"].deviation ** 2
    lean = 1 + slope
    return 15 * v**3 - 2 * lean * 3 * v**2 + lean**2 * v + intercept**2


def shift_toy(side: Literal["train", "test"]) -> Examples:
    """Rows of a side, `features` [N 1] and numbers, always the same.

    Of `test` the split of that name is all but the first 2,000.
    """
    x, y = draw(side, ROWS[side], np.random.default_rng(SEEDS[side]))
    inputs = {"features": x.astype(np.float32)}
    splits = {"test": np.arange(SEEN, ROWS[side])} if side == "test" else {}
    return from_arrays(inputs, y.astype(np.float32), splits=splits)
