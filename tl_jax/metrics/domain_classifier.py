"""A tuned classifier of domains: what ratios and distances are made of."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

STRENGTHS = tuple(10.0**k for k in range(1, -5, -1))
"""L2 penalties from the strongest to the weakest, the order that solves fast."""
LEAST = 8
"""Rows that each domain needs: some to fit, some to choose, some to judge."""
Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(logits [N] of being the target, whether it is [N]) -> losses [N]."""


def log_losses(logits: np.ndarray, is_target: np.ndarray) -> np.ndarray:
    """log(1 + exp(-m)), m the logit of the true domain. [N], [N] -> [N]."""
    return np.logaddexp(0.0, np.where(is_target, -logits, logits))


def mistakes(logits: np.ndarray, is_target: np.ndarray) -> np.ndarray:
    """1 where the sign is wrong, 1/2 at exactly 0. [N], [N] -> [N]."""
    signed = np.where(is_target, logits, -logits)
    return np.where(signed == 0, 0.5, signed < 0)


class Classifier(NamedTuple):
    """rows [N D] -> the logit [N] of being from the target, domains weighed alike."""

    kernel: np.ndarray
    bias: float
    strength: float

    def __call__(self, rows: ArrayLike) -> np.ndarray:
        return np.asarray(rows, np.float64) @ self.kernel + self.bias


class Fitted(Protocol):
    """A classifier of domains with the penalty it was fitted under."""

    strength: float

    def __call__(self, rows: ArrayLike) -> np.ndarray: ...


class Domains(NamedTuple):
    """Rows of both domains, one after the other."""

    rows: np.ndarray
    """[N D] float64."""
    is_target: np.ndarray
    """[N] bool."""


Fit = Callable[[Domains, np.ndarray, tuple[float, ...]], Sequence[Fitted]]
"""(domains, used [N], strengths) -> classifiers, strongest penalty first."""


def stacked(source: ArrayLike, target: ArrayLike) -> Domains:
    """Both domains in one array. source [S D], target [T D].

    Raises ValueError for other shapes, widths that differ, fewer than 8 rows and
    values that are not finite.
    """
    pair = {"source": np.asarray(source), "target": np.asarray(target)}
    for name, rows in pair.items():
        if rows.ndim != 2 or len(rows) < LEAST:
            raise ValueError(
                f"{name} features have shape {rows.shape}, expected [rows columns] "
                f"with at least {LEAST} rows"
            )
        if not np.isfinite(rows).all():
            row = int(np.flatnonzero(~np.isfinite(rows).all(1))[0])
            raise ValueError(f"{name} features: row {row} has a NaN or infinity")
    if pair["source"].shape[1] != pair["target"].shape[1]:
        raise ValueError(
            f"source features are {pair['source'].shape[1]} wide, target features "
            f"{pair['target'].shape[1]}"
        )
    is_target = np.repeat([False, True], [len(rows) for rows in pair.values()])
    return Domains(np.concatenate(list(pair.values())).astype(np.float64), is_target)


def parts(is_target: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """A part in 0..count-1 for each row, of even size within each domain. [N] int."""
    found = np.empty(len(is_target), int)
    for domain in (False, True):
        rows = rng.permutation(np.flatnonzero(is_target == domain))
        found[rows] = np.arange(len(rows)) % count
    return found


def balanced(losses: np.ndarray, is_target: np.ndarray) -> float:
    """Mean of both domains' mean losses."""
    return float((losses[~is_target].mean() + losses[is_target].mean()) / 2)


def path(
    domains: Domains, used: np.ndarray, strengths: tuple[float, ...]
) -> list[Classifier]:
    """A classifier a strength, fitted on the rows where `used` [N] is true.

    sum_n w_n log(1 + exp(-s_n (a z_n + b))) + strength / 2 |a|^2, each domain weighing
    1/2, z standardised; by L-BFGS in float64, each begun at the one before.
    """
    space = standardised(domains, used)
    start, found = np.zeros(space.z.shape[1] + 1), []
    for strength in strengths:
        start = minimised(_objective, start, (space, strength))
        slope = start[:-1] * space.inverse
        offset = float(start[-1] - space.mean @ slope)
        found.append(Classifier(slope, offset, strength))
    return found


class Space(NamedTuple):
    """The used rows as a fit sees them."""

    z: np.ndarray
    """[N D] of mean 0 and deviation 1 under the weights; constant columns are 0."""
    sides: np.ndarray
    """[N] 1 for the target, -1 for the source."""
    weight: np.ndarray
    """[N] of sum 1, half on each domain."""
    mean: np.ndarray
    inverse: np.ndarray


def standardised(domains: Domains, used: np.ndarray) -> Space:
    """The rows where `used` [N] is true, both domains weighing alike."""
    rows, mine = domains.rows[used], domains.is_target[used]
    weight = np.where(mine, 0.5 / max(mine.sum(), 1), 0.5 / max((~mine).sum(), 1))
    mean = weight @ rows
    spread = np.sqrt(weight @ (rows - mean) ** 2)
    varies = spread > 1e-7 * np.abs(rows).max(0)
    inverse = np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0)
    z = (rows - mean) * inverse
    return Space(z, np.where(mine, 1.0, -1.0), weight, mean, inverse)


def minimised(
    objective: Callable[..., tuple[float, np.ndarray]],
    start: np.ndarray,
    given: tuple,
    steps: int = 200,
) -> np.ndarray:
    """The minimum of `objective(x, *given) -> (value, gradient)` by L-BFGS.

    By one thread: products of a matrix and a vector wait for a second one longer than
    they take, by far where others use the cores.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    options = {"maxiter": steps, "gtol": 1e-6}
    with threadpool_limits(1, "blas"):
        found = minimize(
            objective, start, given, jac=True, method="L-BFGS-B", options=options
        )
    return found.x


def _objective(
    x: np.ndarray, space: Space, strength: float
) -> tuple[float, np.ndarray]:
    """Value and gradient of the penalised logistic loss."""
    slope, margin = x[:-1], space.sides * (space.z @ x[:-1] + x[-1])
    value = space.weight @ np.logaddexp(0, -margin) + strength / 2 * slope @ slope
    pull = -space.sides * space.weight * (0.5 - 0.5 * np.tanh(margin / 2))
    return value, np.append(pull @ space.z + strength * slope, pull.sum())


def chosen(
    domains: Domains,
    used: np.ndarray,
    *,
    judge: Judge,
    rng: np.random.Generator,
    strengths: tuple[float, ...] = STRENGTHS,
    fit: Fit = path,
    again: bool = True,
) -> Fitted:
    """The classifier that an inner quarter of the used rows likes best.

    Of equals the first, which has the strongest penalty. With `again` it is fitted on
    all used rows; a search from random starts keeps what it found.
    """
    inner = used & (parts(domains.is_target, 4, rng) > 0)
    held = used & ~inner
    rows, truth = domains.rows[held], domains.is_target[held]
    found = fit(domains, inner, strengths)
    best = int(np.argmin([balanced(judge(one(rows), truth), truth) for one in found]))
    return fit(domains, used, strengths)[best] if again else found[best]


def tuned(
    source: ArrayLike,
    target: ArrayLike,
    *,
    judge: Judge,
    seed: int = 0,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Fitted:
    """Logistic regression of the domain on all rows, its penalty chosen within them.

    source [S D], target [T D]. Raises as `stacked`.
    """
    domains, rng = stacked(source, target), np.random.default_rng(seed)
    used = np.ones(len(domains.rows), bool)
    return chosen(domains, used, judge=judge, rng=rng, strengths=strengths)
