"""What an evaluation during training scores, and which weights it prefers."""

from collections.abc import Callable
from typing import NamedTuple

from experiments import evaluate
from experiments.job import Job, Part, predicted
from experiments.shift import selectors
from tl_jax.metrics.label_free import SELECTORS
from tl_jax.types import Frozen, State


class Choice(NamedTuple):
    """The two functions of a loop's hooks."""

    evaluate: Callable[[State, Frozen], dict[str, float]]
    score: Callable[[dict[str, float]], float]
    """More is better."""


def choice_of(job: Job, part: Part) -> Choice:
    """By the headline metric on validation, or by the selector `config.select` names.

    Validation is of the source, where there are two domains.
    """
    task, name = job.problem.task, job.config.select

    def scores(state: State, frozen: Frozen) -> dict[str, float]:
        found = predicted(job, part.predict, state, frozen, "validation")
        return evaluate.score(task, found)

    if name not in SELECTORS:
        headline, sign = next(iter(task.metrics)), 1.0 if task.mode == "max" else -1.0
        return Choice(scores, lambda found: sign * found[headline])
    at = f"{selectors.SELECTED}/{name}"
    sign = 1.0 if SELECTORS[name].higher_is_better else -1.0

    def more(state: State, frozen: Frozen) -> dict[str, float]:
        found = selectors.scored(job, part, state, frozen, (name,))
        return scores(state, frozen) | {at: found[name]}

    return Choice(more, lambda found: sign * found[at])
