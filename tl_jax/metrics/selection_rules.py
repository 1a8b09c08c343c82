"""Which run and step to take, by recorded scores: DomainBed's three rules.

Scores [R S ...] are of R runs (settings) at S steps, larger being better; NaN where
there is none. Of equal ones the first is taken. (Gulrajani and Lopez-Paz, 2021.)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Chosen(NamedTuple):
    """What a rule takes."""

    run: int
    step: int
    score: float
    """By which it was chosen."""


def training_domain(scores: ArrayLike) -> Chosen:
    """The best mean over held-out rows of the training domains, at any step.

    scores [R S E], of the E training domains alone: not of the one to be tested.
    Raises ValueError for another shape, or where every choice misses a score.
    """
    return _best(_array("training_domain", scores, 3).mean(-1), "training_domain")


def leave_one_domain_out(scores: ArrayLike) -> Chosen:
    """The best mean over domains that were left out of training in turn.

    scores [R S E]: at e of a model that learned from the other training domains, in e.
    The run and step chosen are for the model of all of them. A choice for which one of
    the E models is missing is not taken. Raises as `training_domain`.
    """
    table = _array("leave_one_domain_out", scores, 3)
    return _best(table.mean(-1), "leave_one_domain_out")


def oracle(scores: ArrayLike) -> Chosen:
    """The best in held-out rows of the tested domain, at the last step: an oracle.

    It sees labels of the tested domain, as no one who generalises does, and so is an
    upper bound; DomainBed lets it stop at no earlier step. scores [R S]. Raises as
    `training_domain`.
    """
    table = _array("oracle", scores, 2)
    only = np.full_like(table, np.nan)
    only[:, -1] = table[:, -1]
    return _best(only, "oracle")


RULES = {
    "training_domain": training_domain,
    "leave_one_domain_out": leave_one_domain_out,
    "oracle": oracle,
}
"""Name -> rule."""


def _array(rule: str, scores: ArrayLike, rank: int) -> np.ndarray:
    table = np.asarray(scores, np.float64)
    if table.ndim != rank or 0 in table.shape:
        wanted = "[runs steps domains]" if rank == 3 else "[runs steps]"
        raise ValueError(f"{rule}: scores are {list(table.shape)}, expected {wanted}")
    return table


def _best(table: np.ndarray, rule: str) -> Chosen:
    if np.isnan(table).all():
        raise ValueError(f"{rule}: every choice of run and step misses a score")
    run, step = np.unravel_index(np.nanargmax(table), table.shape)
    return Chosen(int(run), int(step), float(table[run, step]))
