"""What a run's predictions say of both domains, without target labels and with them."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from experiments import domains_figure
from experiments.evaluate import Predicted, predict_all
from experiments.programs import over_streams, predicting
from tl_jax.algorithms.adaptation import TARGET
from tl_jax.checkpoint import write_atomic
from tl_jax.distribute import is_first
from tl_jax.metrics import label_free
from tl_jax.metrics.bound import ben_david
from tl_jax.metrics.divergence import proxy_a_distance
from tl_jax.metrics.domain_classifier import LEAST
from tl_jax.metrics.label_free import Evidence
from tl_jax.types import Frozen, Outputs, State

if TYPE_CHECKING:
    from experiments.job import Job, Part

FILE = "domains.npz"
ROWS = 1000
"""Rows of a split that are looked at: a thousand rank models as well as all do."""
STRENGTHS, FOLDS = (1.0, 0.1, 0.01), 2
"""Of the classifiers that tell domains apart, a set for each run."""
SELECTED = "selector"
"""What scores of a selector are recorded under."""


def both(outputs: Outputs) -> Any:
    """[B D + C] features and logits side by side."""
    return jnp.concatenate([outputs.features, outputs.logits], axis=-1)


def read(
    job: "Job", part: "Part", state: State, frozen: Frozen, split: str
) -> Predicted:
    """Features and logits, side by side, of up to `ROWS` rows of a split.

    Rows of the target come without labels, but those of the split `test`.
    """
    problem, layout = job.problem, job.problem.layout
    program = problem.memo.get(both)
    if program is None or program[0] is not part.algorithm:
        program = part.algorithm, predicting(part.algorithm, layout, both)
        problem.memo[both] = program

    def run(inputs: Any) -> Any:
        return program[1](state, frozen, problem.batch(inputs))

    rows = np.random.default_rng(0).permutation(job.rows[split])[:ROWS]
    streams = problem.streams(np.sort(rows), split)
    return predict_all(over_streams(layout, run), streams)


def evidence(job: "Job", part: "Part", state: State, frozen: Frozen) -> Evidence:
    """What label-free scores may see: held-out source rows, and the target's own.

    The target's are those that adaptation saw, never those that judge.
    """
    named = ("validation", "train", TARGET)
    held, train, target = (read(job, part, state, frozen, name) for name in named)
    count = len(job.problem.classes)
    return Evidence(
        source_features=held.logits[:, :-count],
        source_logits=held.logits[:, -count:],
        source_labels=held.labels,
        train_features=train.logits[:, :-count],
        target_features=target.logits[:, :-count],
        target_logits=target.logits[:, -count:],
    )


def scored(
    job: "Job", part: "Part", state: State, frozen: Frozen, names: Iterable[str]
) -> dict[str, float]:
    """Label-free scores by name, of the present weights."""
    return label_free.scores(evidence(job, part, state, frozen), names)


def measured(job: "Job", part: "Part", state: State, frozen: Frozen) -> dict[str, Any]:
    """Fields of a run's result: label-free scores, the domains' distance, the bound.

    The bound alone reads labels of the target's test rows, as the score does. Empty
    but for classifications, and where there are too few rows to tell domains apart.
    """
    problem = job.problem
    sizes = [len(job.rows[n]) for n in ("validation", "train", TARGET, "test")]
    if problem.task.name != "classification" or min(sizes) < max(LEAST, 4 * FOLDS):
        return {}
    seen = evidence(job, part, state, frozen)
    test = read(job, part, state, frozen, "test")
    count = len(problem.classes)
    features, logits = test.logits[:, :-count], test.logits[:, -count:]
    options = {"folds": FOLDS, "strengths": STRENGTHS}
    distance = proxy_a_distance(seen.source_features, features, **options)
    bound = ben_david(
        seen.source_features,
        seen.source_logits,
        seen.source_labels,
        features,
        target_logits=logits,
        target_labels=test.labels,
        classifier="linear",
        distance=distance,
    )
    if is_first():
        write_atomic(job.folder / FILE, _cloud(seen))
    return {
        "selectors": label_free.scores(seen),
        "distance": distance._asdict(),
        "bound": {n: _plain(value) for n, value in bound._asdict().items()},
    }


def _plain(value: Any) -> Any:
    return value._asdict() if hasattr(value, "_asdict") else value


def _cloud(seen: Evidence) -> bytes:
    """The features of both domains as a figure needs them."""
    kept = domains_figure.thinned(
        domains_figure.Cloud(
            seen.source_features,
            seen.target_features,
            seen.source_labels,
            np.asarray(seen.target_logits).argmax(-1),
        )
    )
    file = io.BytesIO()
    np.savez_compressed(file, **kept._asdict())
    return file.getvalue()
