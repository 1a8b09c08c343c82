"""A tuned classifier of domains: what ratios and distances are made of."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from tl_jax.estimators.logistic import Problem, regularisation_path
from tl_jax.estimators.standard import standard
from tl_jax.types import Array

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
    """[N D] float32."""
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
    return Domains(np.concatenate(list(pair.values())).astype(np.float32), is_target)


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

    Rows left out weigh 0: all fits of a data set have one shape, so one program.
    """
    weight = domain_weights(domains, used)
    rows = jnp.asarray(domains.rows)
    scale = standard(rows, weight)
    labels = jnp.asarray(domains.is_target, jnp.int32)
    problem = Problem(scale(rows), labels, weight, jnp.float32(0))
    heads, _ = regularisation_path(
        problem, jnp.asarray(strengths, jnp.float32), 2, 1e-5, 300
    )
    mean, inverse = (np.asarray(x, np.float64) for x in scale)
    found = []
    for kernel, bias, strength in zip(*heads, strengths, strict=True):
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        slope = inverse * (kernel[:, 1] - kernel[:, 0])
        offset = bias[1] - bias[0] - mean @ slope
        found.append(Classifier(slope, float(offset), strength))
    return found


def domain_weights(domains: Domains, used: np.ndarray) -> Array:
    """[N] float32 of sum 1 on the used rows: each domain weighs 1/2."""
    count = [(used & (domains.is_target == domain)).sum() for domain in (True, False)]
    share = np.where(domains.is_target, 0.5 / count[0], 0.5 / count[1])
    return jnp.asarray(share * used, jnp.float32)


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
