"""What the boosting methods share: learners, errors, and sums over rounds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
"""(rows [N D], targets [N], weights [N] of mean 1) -> a model with `predict`."""
LEAST = 1e-10
"""An error of 0 would weigh its round without bound."""
MOST = 0.499
"""An error of a half or more would turn the update around."""


class Side(NamedTuple):
    """Rows of a domain, and the weights they begin with."""

    rows: np.ndarray
    """[N D]"""
    targets: np.ndarray
    """[N]"""
    weight: np.ndarray
    """[N]"""


class Boosted(NamedTuple):
    """Models of all rounds."""

    models: tuple[Any, ...]
    votes: np.ndarray
    """[R] ln(1 / beta) of each round."""
    errors: np.ndarray
    """[R] of the target, as weighed in that round."""
    source_weights: np.ndarray
    """[R N] what the round's learner was given; of sum 1 with the target's."""
    target_weights: np.ndarray
    """[R M]"""

    @property
    def last(self) -> "Boosted":
        """The later half of the rounds, on which the guarantee rests."""
        half = len(self.models) // 2
        return Boosted(self.models[half:], *(part[half:] for part in self[1:]))


def gathered(
    models: list, votes: list, errors: list, given: list, size: int
) -> Boosted:
    """The record of all rounds; the first `size` weights of each are a source's."""
    weights = np.stack(given)
    sides = weights[:, :size], weights[:, size:]
    return Boosted(tuple(models), np.array(votes), np.array(errors), *sides)


def said(model: Any, *sides: Side) -> np.ndarray:
    """What a model says of the rows of all sides, of those that have some."""
    return np.concatenate([model.predict(s.rows) for s in sides if len(s.rows)])


def fitted(learn: Learner, source: Side, target: Side, weight: np.ndarray) -> Any:
    """A model of both sides' rows. weight [N + M]."""
    rows = np.concatenate([source.rows, target.rows])
    targets = np.concatenate([source.targets, target.targets])
    return learn(rows, targets, weight / weight.mean())


def drop(rows: int, rounds: int) -> float:
    """The factor of a source row that is wrong: 1 / (1 + sqrt(2 ln N / rounds))."""
    return 1 / (1 + np.sqrt(2 * np.log(max(rows, 1)) / rounds))


def majority(boosted: Boosted, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Shares of the votes [B C] of the later half of the rounds. classes [C]."""
    last = boosted.last
    shares = np.zeros((len(rows), len(classes)))
    for model, vote in zip(last.models, last.votes, strict=True):
        shares += vote * (model.predict(rows)[:, None] == classes)
    return shares / shares.sum(1, keepdims=True)


def weighted_median(values: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """[B] the least value with half of the votes at or below it.

    values [R B], votes [R] at least 0.
    """
    order = np.argsort(values, axis=0, kind="stable")
    below = np.cumsum(votes[order], axis=0)
    at = (below >= 0.5 * below[-1]).argmax(0)
    columns = np.arange(values.shape[1])
    return values[order[at, columns], columns]


def median(boosted: Boosted, rows: np.ndarray) -> np.ndarray:
    """The weighted median [B] over the rounds given."""
    values = np.stack([model.predict(rows) for model in boosted.models])
    return weighted_median(values, boosted.votes)
