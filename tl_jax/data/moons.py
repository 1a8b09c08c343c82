"""Two inter-twinning moons, and a domain that is turned (Ganin et al., 2016)."""

from typing import Literal, get_args

import numpy as np

from tl_jax.data.sources import Examples, from_arrays
from tl_jax.tree import one_of

Domain = Literal["source", "target"]
ANGLE = 35.0
"""Degrees by which the paper turns its target."""


def moons(
    domain: Domain = "source",
    *,
    rows: int = 150,
    more: int = 0,
    noise: float = 0.05,
    angle: float = ANGLE,
    seed: int = 1,
) -> Examples:
    """One domain of the inter-twinning moons, as the paper's authors draw it.

    Half of the `rows` on an upper, half on a lower half circle of radius 1, Gaussian
    noise, centred on the source's mean and stretched by 2; the target is another draw
    (of `seed` + 1), turned about the origin by `angle` degrees. The defaults are the
    authors' script: to a rounding the numbers of scikit-learn's `make_moons` with
    random states 1 and 2. The paper's text has 300 rows a domain.

    `more` rows are drawn alike from `seed` + 2 or + 3: the source's split
    `validation`, the target's `test`; the first `rows` are then `train`. Inputs
    `features` [N 2], classes `upper` and `lower`.

    Raises `NoMatch` for another domain, ValueError for fewer than 4 rows.
    """
    one_of("domain", domain, get_args(Domain))
    if rows < 4:
        raise ValueError(f"moons: {rows} rows, expected at least 4")
    centre = drawn(rows, noise, seed)[0].mean(0)
    first = seed + (domain == "target")
    points, labels = drawn(rows, noise, first)
    splits = {}
    if more:
        others, own = drawn(more, noise, first + 2)
        points, labels = np.concatenate([points, others]), np.append(labels, own)
        held = "test" if domain == "target" else "validation"
        splits = {"train": np.arange(rows), held: np.arange(rows, rows + more)}
    points = 2 * (points - centre)
    if domain == "target":
        points = turned(points, angle)
    inputs = {"features": points.astype(np.float32)}
    return from_arrays(inputs, labels, ("upper", "lower"), splits, f"moons/{domain}")


def drawn(rows: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [N 2] of two half circles in a random order, and their classes [N]."""
    random = np.random.RandomState(seed)
    upper = np.linspace(0, np.pi, rows // 2)
    lower = np.linspace(0, np.pi, rows - rows // 2)
    one = np.stack([np.cos(upper), np.sin(upper)], -1)
    two = np.stack([1 - np.cos(lower), 0.5 - np.sin(lower)], -1)
    order = np.arange(rows)
    random.shuffle(order)
    points = np.concatenate([one, two])[order]
    labels = np.repeat([0, 1], [len(one), len(two)])[order]
    return points + random.normal(scale=noise, size=points.shape), labels


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    """Points [N 2] turned about the origin by `angle` degrees, against the clock."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return points @ np.array([[cos, sin], [-sin, cos]])
