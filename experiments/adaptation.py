"""What the test episodes cost after each number of adaptation steps."""

import io
from pathlib import Path

import numpy as np

from experiments.evaluate import Predicted
from experiments.problem import Problem
from tl_jax.checkpoint import write_atomic

FILE = "adaptation.npz"
SHOWN = 4
"""Episodes of regression whose fits are kept."""


def save(folder: Path, problem: Problem, after: dict[int, Predicted]) -> None:
    """Write each metric by steps; of regressions, some episodes' fits as well.

    Runs whose learner has no steps write nothing.
    """
    if not after:
        return
    steps = sorted(after)
    table = {
        f"scores/{name}": np.asarray(
            [metric(after[k].logits, after[k].labels) for k in steps]
        )
        for name, metric in problem.task.metrics.items()
    }
    file = io.BytesIO()
    np.savez_compressed(file, steps=np.asarray(steps), **table)
    write_atomic(folder / FILE, file.getvalue())
