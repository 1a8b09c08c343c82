"""Convex quadratics over a box and a slab, by a primal-dual interior point method.

    min_b 1/2 b' K b - k' b    with 0 <= b <= bound, low <= sum b <= high

Newton's matrix is K and a diagonal, the slab one scalar beside it: a step costs one
Cholesky factor of K's size, or of its rank where K is of low rank.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tl_jax.estimators.weighting.low_rank import LowRank

Solver = Callable[[np.ndarray], np.ndarray]


class Box(NamedTuple):
    """Where b may lie; low = high is an equality."""

    bound: float
    low: float
    high: float


class Solution(NamedTuple):
    """Where the descent ended."""

    b: np.ndarray
    """[N], inside the box and the slab."""
    gap: float
    """The value at b is at most this much above the least: `optimality_gap`."""
    steps: int


class Point(NamedTuple):
    """Primal and dual variables on their way."""

    b: np.ndarray
    """[N]"""
    total: float
    """What sum b is held to, within the slab."""
    price: float
    """Multiplier of sum b = total."""
    lower: np.ndarray
    """[N + 1] multipliers of what lies above 0, and above low."""
    upper: np.ndarray
    """[N + 1] of what lies below bound, and below high."""


def optimality_gap(gradient: np.ndarray, b: np.ndarray, box: Box) -> float:
    """max_x gradient' (b - x) over the box and slab: f(b) - min f is at most this.

    A convex f lies above its tangent at b, whose least value is a linear programme
    solved by sorting. gradient [N], b [N].
    """
    order = np.argsort(gradient, kind="stable")
    slope = gradient[order]
    wanted = int((slope < 0).sum()) * box.bound
    total = min(max(wanted, box.low), box.high)
    whole = int(total // box.bound)
    least = box.bound * slope[:whole].sum()
    if whole < len(slope):
        least += (total - whole * box.bound) * slope[whole]
    return float(gradient @ b - least)


def inside(b: np.ndarray, box: Box) -> np.ndarray:
    """b moved into the box and slab, by rounding's worth: along a line to a corner."""
    b = np.clip(b, 0.0, box.bound)
    total = b.sum()
    if total > box.high:
        return b * (box.high / total)
    if total < box.low:
        room = len(b) * box.bound - total
        return b + (box.bound - b) * ((box.low - total) / room)
    return b


def solve_quadratic(
    K: np.ndarray | LowRank,
    k: np.ndarray,
    box: Box,
    *,
    near: LowRank | None = None,
    tolerance: float = 1e-9,
    steps: int = 100,
) -> Solution:
    """The minimum, with Mehrotra's predictor and corrector (Mehrotra, 1992).

    K [N N] symmetric with no negative eigenvalue, or of low rank; k [N]. With `near`,
    K to rounding, Newton's steps use it and the values K itself. Ends when the gap is
    at most `tolerance`, or when ten steps in a row made it no smaller.
    Raises ValueError for a slab that the box does not meet.
    """
    if not (box.bound > 0 and 0 <= box.low <= box.high and box.high > 0):
        raise ValueError(f"bounds {box} are empty")
    if box.low > len(k) * box.bound:
        raise ValueError(
            f"weights of at most {box.bound:g} can't add up to {box.low:g}: "
            f"there are {len(k)} rows"
        )
    times = K.times if isinstance(K, LowRank) else K.dot
    point = _start(k, box)
    best, idle, step = _seen(times, k, point, box), 0, 0
    while step < steps and best.gap > tolerance and idle < 10:
        step += 1
        point = _newton(times, k, K if near is None else near, point, box)
        if not np.isfinite(point.b).all():
            break
        seen = _seen(times, k, point, box)
        idle = 0 if seen.gap < best.gap else idle + 1
        best = min(best, seen, key=lambda s: s.gap)
    return best._replace(steps=step)


def _seen(times: Solver, k: np.ndarray, point: Point, box: Box) -> Solution:
    b = inside(point.b, box)
    return Solution(b, optimality_gap(times(b) - k, b, box), 0)


def _start(k: np.ndarray, box: Box) -> Point:
    """Equal weights, and multipliers of the size of k."""
    middle = (box.low + box.high) / 2
    start = min(middle / len(k), box.bound / 2)
    size = max(float(np.abs(k).max()), 1e-12)
    ones = np.full(len(k) + 1, size)
    return Point(np.full(len(k), start), middle, 0.0, ones, ones)


def _rooms(point: Point, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Distances [N + 1] to the lower and the upper bounds; inf for an equality."""
    ends = [np.inf, np.inf]
    if box.low < box.high:
        ends = [point.total - box.low, box.high - point.total]
    return np.append(point.b, ends[0]), np.append(box.bound - point.b, ends[1])


def _newton(
    times: Solver, k: np.ndarray, near: np.ndarray | LowRank, point: Point, box: Box
) -> Point:
    """One step: the affine one says how far to aim, the second goes there."""
    below, above = _rooms(point, box)
    stiff = point.lower / below + point.upper / above
    solve = _factor(near, stiff[:-1])
    across = solve(np.ones(len(k)))
    slope = times(point.b) - k - point.price

    def direction(low: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, float, ...]:
        """The step for given products of distances and multipliers."""
        push = low / below - up / above
        along = solve(-(slope - point.lower[:-1] + point.upper[:-1]) + push[:-1])
        # All that the slab says, for an equality with an infinite stiffness.
        soft = 1 / stiff[-1] if stiff[-1] > 0 else 0.0
        rest = -(point.price - point.lower[-1] + point.upper[-1]) + push[-1]
        lack = point.total - point.b.sum() - along.sum() + soft * rest
        price = lack / (across.sum() + soft)
        step = np.append(along + across * price, soft * (rest - price))
        return (
            step,
            price,
            (low - point.lower * step) / below,
            (up + point.upper * step) / above,
        )

    closed = ~np.isfinite(below)
    products = _products(below, point.lower), _products(above, point.upper)
    count = 2 * (~closed).sum()
    mean = (products[0].sum() + products[1].sum()) / count
    step, _, low, up = direction(-products[0], -products[1])
    far = _reach(below, step), _reach(above, -step)
    far = min(*far, _reach(point.lower, low), _reach(point.upper, up), 1.0)
    aimed = (
        _products(below + far * step, point.lower + far * low).sum()
        + _products(above - far * step, point.upper + far * up).sum()
    ) / count
    target = mean * (aimed / mean) ** 3
    fix = np.where(closed, 0.0, step)
    aims = target - products[0] - fix * low, target - products[1] + fix * up
    aims = [np.where(closed, 0.0, aim) for aim in aims]
    step, price, low, up = direction(*aims)
    first = 0.995 * min(_reach(below, step), _reach(above, -step))
    second = 0.995 * min(_reach(point.lower, low), _reach(point.upper, up))
    far = min(1.0, first, second)  # one length for both: K couples them
    return Point(
        point.b + far * step[:-1],
        point.total + far * step[-1],
        point.price + far * price,
        point.lower + far * low,
        point.upper + far * up,
    )


def _products(room: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """Distance times multiplier, 0 where there is no bound."""
    return np.where(np.isfinite(room), np.where(np.isfinite(room), room, 0) * dual, 0.0)


def _reach(value: np.ndarray, step: np.ndarray) -> float:
    """How many steps until a positive entry would be 0."""
    falls = step < 0
    return float((value[falls] / -step[falls]).min(initial=np.inf))


def _factor(K: np.ndarray | LowRank, stiff: np.ndarray) -> Solver:
    """x -> (K + diag(stiff))^-1 x."""
    from scipy.linalg import cho_factor, cho_solve

    if isinstance(K, LowRank):
        # Woodbury between equal halves, where all numbers are near 1.
        half = 1 / np.sqrt(stiff + K.rest)
        root = K.root * half[:, None]
        small = root.T @ root
        small[np.diag_indices_from(small)] += 1.0
        known = cho_factor(small, lower=True, overwrite_a=True, check_finite=False)

        def solve(x: np.ndarray) -> np.ndarray:
            x = half * x
            return half * (x - root @ cho_solve(known, root.T @ x, check_finite=False))

        return solve
    full = K.copy().T  # columns in a row, as LAPACK wants them: K is symmetric
    full[np.diag_indices_from(full)] += stiff
    known = cho_factor(full, lower=True, overwrite_a=True, check_finite=False)
    return lambda x: cho_solve(known, x, check_finite=False)
