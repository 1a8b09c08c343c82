"""What is measured of two domains before and after training: weights and maps."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.problem import Problem
from experiments.shift.alignments import ALIGNMENTS
from experiments.shift.features import features_of, network_base, over_features
from experiments.shift.selectors import measured
from experiments.shift.weightings import WEIGHTINGS
from experiments.transforms import called
from tl_jax.algorithms.adaptation import TARGET

if TYPE_CHECKING:
    from experiments.shift.problem import Shifted


class Weighed(NamedTuple):
    """The importance of the source's rows."""

    column: np.ndarray
    """[N] of all rows; 1 where none was asked for."""
    told: dict[str, Any]
    """What a result says of them."""


def features(problem: "Shifted") -> np.ndarray:
    """[N D] what weights and maps are fitted on: the body's features of all rows."""
    own = problem.encoded.columns.get("features")
    return np.asarray(features_of(problem) if own is None else own, np.float32)


def weighed(problem: "Shifted", seed: int) -> Weighed:
    """The weights of the source's training rows by the strategy's method."""
    ((name, table),) = problem.strategy.shift.reweigh.items()
    rows, found = problem.split(seed), features(problem)
    column = np.ones(len(found), np.float32)
    at = f"config.strategies.{problem.strategy.name}.reweigh.{name}"
    given = {"source": found[rows["train"]], "target": found[rows[TARGET]]} | table
    if "labels" in inspect.signature(WEIGHTINGS[name]).parameters:
        given["labels"] = problem.encoded.labels[rows["train"]]
    weights = called(WEIGHTINGS[name], given, at)
    column[rows["train"]] = weights.values
    told = {"method": name, **weights.told}
    return Weighed(column, told)


def mapped(problem: "Shifted") -> "Shifted":
    """The problem with both domains' features mapped by the strategy's method."""
    found, (of_source, of_target) = features(problem), maps(problem)
    mine = problem.domains.is_target
    sides = np.asarray(of_source(found[~mine])), np.asarray(of_target(found[mine]))
    column = np.zeros((len(found), sides[0].shape[1]), np.float32)
    column[~mine], column[mine] = sides
    return with_features(problem, column)


def maps(problem: "Shifted") -> tuple[Callable, Callable]:
    """The strategy's maps of features, fitted on the rows that training may see."""
    ((name, table),) = problem.strategy.shift.align.items()
    rows, found = problem.split(problem.config.seeds[0]), features(problem)
    at = f"config.strategies.{problem.strategy.name}.align.{name}"
    given = {"source": found[rows["train"]], "target": found[rows[TARGET]]} | table
    return called(ALIGNMENTS[name], given, at)


def mapped_as_target(problem: Problem, study: "Shifted", strategy: Any) -> Problem:
    """A problem of new rows' features, mapped as the study maps its target's.

    A map is found again on the rows of the study, which it needs for that.
    """
    _, of_target = maps(over_features(study._replace(strategy=strategy)))
    return with_features(problem, np.asarray(of_target(features(problem))))


def with_features(problem: Any, features: np.ndarray) -> Any:
    """The problem with other features [N D], and a network that reads them."""
    columns = {**problem.encoded.columns, "features": features}
    base = network_base(problem.base, features.shape[1], problem.config)
    encoded = problem.encoded._replace(columns=columns)
    return problem._replace(base=base, encoded=encoded)


def judge(
    problem: "Shifted", job: Any, part: Any, state: Any, frozen: Any
) -> dict[str, Any]:
    """Fields of a run's result: what it opened, weighed and says of both domains."""
    shift = job.strategy.shift
    told: dict[str, Any] = {"opened_target_labels": bool(shift.opened)}
    if shift.reweigh and job.seed in problem.memo:
        told["weights"] = problem.memo[job.seed].told
    return {"shift": told, **measured(job, part, state, frozen)}
