"""Kernel CCA: two views of the same things in one space, in closed form."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from tl_jax.tree import one_of

Kernel = Literal["linear", "rbf"]
EXACT = 2000
"""So many pairs are decomposed without an approximation."""
TINY = 1e-10
"""Directions below this share of the largest eigenvalue are rounding."""


class View(NamedTuple):
    """One side of a fitted pair: rows [M D] -> [M K]."""

    points: np.ndarray
    """[P D] rows whose kernel values are read."""
    weights: np.ndarray
    """[P K]"""
    offset: np.ndarray
    """[K] what the centre of the fitted rows would be mapped to."""
    gamma: float | None
    """Of the Gaussian kernel; None for the linear one."""

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return kernel(rows, self.points, self.gamma) @ self.weights - self.offset


class Correlated(NamedTuple):
    """Both views, and how they correlate."""

    x: View
    y: View
    correlations: np.ndarray
    """[K] the regularised canonical correlations, in 0..1, falling."""


class _Factor(NamedTuple):
    """A centred kernel matrix as U diag(values) U', and the way to U from new rows."""

    basis: np.ndarray
    """U [N R]"""
    values: np.ndarray
    points: np.ndarray
    lift: np.ndarray
    """[P R]: kernel values of new rows @ lift, less its mean, are their rows of K U."""
    mean: np.ndarray


def kernel(one: np.ndarray, other: np.ndarray, gamma: float | None) -> np.ndarray:
    """exp(-gamma |a - b|^2), or a . b without a gamma. [N D], [M D] -> [N M]."""
    product = one @ other.T
    if gamma is None:
        return product
    squares = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * product
    return np.exp(-gamma * np.maximum(squares, 0.0))


def kernel_cca(
    x: ArrayLike,
    y: ArrayLike,
    *,
    components: int = 10,
    kind: Kernel = "rbf",
    gamma: float | tuple[float | None, float | None] | None = None,
    strength: float = 0.02,
    rank: int | None = None,
) -> Correlated:
    """Functions of two views that correlate most (Akaho, 2001; Bach and Jordan, 2002).

    maximise a' Kx Ky b  with  |(Kx + c I) a| = |(Ky + c I) b| = 1,  c = strength N / 2,

    of centred kernel matrices, c as in Bach and Jordan: with A = Kx (Kx + c I)^-1 and B
    alike, the singular vectors of A B. Row i of x [N D] and of y [N E] are one thing
    seen twice. `gamma` of the Gaussian kernel, one or one for each view; None is 1 over
    the median squared distance. With `rank` each kernel matrix is an incomplete
    Cholesky product of that rank, pivots by the largest remainder (Fine and
    Scheinberg, 2001); without it all is exact. In float64.

    scikit-learn's `CCA` is the linear kernel at strength 0 up to the scale of its
    components (it scales x and y, deflates, and does not centre new rows by a kernel).

    Raises NoMatch for an unknown kernel, ValueError for counts that differ or are out
    of range, for a negative strength, and beyond 2,000 pairs without a rank.
    """
    x, y = (np.asarray(rows, np.float64) for rows in (x, y))
    one_of("kind", kind, get_args(Kernel))
    _checked(x, y, components, strength, rank)
    gammas = gamma if isinstance(gamma, tuple) else (gamma, gamma)
    if kind == "linear":
        gammas = None, None
    else:
        gammas = tuple(
            bandwidth(rows) if own is None else float(own)
            for rows, own in zip((x, y), gammas, strict=True)
        )
    sides = [_factor(rows, own, rank) for rows, own in zip((x, y), gammas, strict=True)]
    ridge = strength * len(x) / 2
    one, other = (side.values / (side.values + ridge) for side in sides)
    cross = one[:, None] * (sides[0].basis.T @ sides[1].basis) * other
    left, correlations, right = _largest(cross, components)
    views = [
        _view(side, part, ridge, own)
        for side, part, own in zip(sides, (left, right), gammas, strict=True)
    ]
    return Correlated(*views, np.clip(correlations, 0.0, 1.0))


def _largest(
    cross: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The largest singular values, falling, with vectors: [R K], [K], [S K].

    By the smaller product's eigenvectors, of which those alone are found: a full
    decomposition takes ten times as long.
    """
    from scipy.linalg import eigh

    if cross.shape[0] > cross.shape[1]:
        right, values, left = _largest(cross.T, count)
        return left, values, right
    size = len(cross)
    count = min(count, size)
    _, vectors = eigh(cross @ cross.T, subset_by_index=(size - count, size - 1))
    left = vectors[:, ::-1]
    right = cross.T @ left
    values = np.linalg.norm(right, axis=0)
    return left, values, right / np.maximum(values, 1e-300)


def bandwidth(rows: np.ndarray, most: int = 1000) -> float:
    """1 / median squared distance of different rows, of at most `most` even ones.

    Where most rows are equal the mean takes the median's place.
    """
    rows = rows[:: -(-len(rows) // most)]
    squares = (rows * rows).sum(1)
    far = squares[:, None] + squares - 2 * rows @ rows.T
    pairs = far[~np.eye(len(rows), dtype=bool)]
    typical = np.median(pairs) if np.median(pairs) > 0 else pairs.mean()
    if not typical > TINY * max(squares.max(), 1e-30):
        raise ValueError("all rows of a view are equal: there is nothing to correlate")
    return 1 / float(typical)


def _checked(x, y, components: int, strength: float, rank: int | None) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"x is {list(x.shape)}, y is {list(y.shape)}: expected [N D] and [N E], "
            "two or more rows, row i of both one thing"
        )
    if components < 1 or strength < 0 or (rank is not None and rank < 1):
        raise ValueError(
            f"components={components}, strength={strength}, rank={rank}: expected 1 or "
            "more, 0 or more, and 1 or more"
        )
    if rank is None and len(x) > EXACT:
        raise ValueError(
            f"{len(x)} pairs are too many to decompose exactly (at most {EXACT}): give "
            "a rank, of some hundreds"
        )


def _factor(rows: np.ndarray, gamma: float | None, rank: int | None) -> _Factor:
    return _exact(rows, gamma) if rank is None else _incomplete(rows, gamma, rank)


def _exact(rows: np.ndarray, gamma: float | None) -> _Factor:
    whole = kernel(rows, rows, gamma)
    means = whole.mean(0)
    values, basis = np.linalg.eigh(whole - means - means[:, None] + means.mean())
    kept = values > TINY * max(values[-1], 0.0)
    basis = basis[:, kept]  # centred: orthogonal to the constant
    return _Factor(basis, values[kept], rows, basis, means @ basis)


def _incomplete(rows: np.ndarray, gamma: float | None, rank: int) -> _Factor:
    """K ~ G G', row by row of the largest remainder; then the centred G's parts."""
    ones = np.ones(len(rows)) if gamma is not None else (rows * rows).sum(1)
    found, rest, pivots = np.zeros((len(rows), min(rank, len(rows)))), ones.copy(), []
    for step in range(found.shape[1]):
        at = int(rest.argmax())
        if rest[at] <= TINY * ones.max():
            break
        own = kernel(rows, rows[at : at + 1], gamma)[:, 0]
        found[:, step] = (own - found[:, :step] @ found[at, :step]) / np.sqrt(rest[at])
        pivots.append(at)
        rest = np.maximum(rest - found[:, step] ** 2, 0.0)
        rest[pivots] = 0.0
    found = found[:, : len(pivots)]
    if not pivots:
        raise ValueError("all rows are 0: there is nothing to correlate")
    mean = found.mean(0)
    basis, sizes, axes = np.linalg.svd(found - mean, full_matrices=False)
    kept = sizes > np.sqrt(TINY) * max(sizes[0], 0.0)
    turn = axes[kept].T * sizes[kept]
    lift = np.linalg.solve(found[pivots].T, turn)  # k(new, pivots) L^-T V S
    return _Factor(basis[:, kept], sizes[kept] ** 2, rows[pivots], lift, mean @ turn)


def _view(side: _Factor, part: np.ndarray, ridge: float, gamma) -> View:
    """Projections K U (values + ridge)^-1 part, of new rows too."""
    inner = part / (side.values + ridge)[:, None]
    return View(side.points, side.lift @ inner, side.mean @ inner, gamma)
