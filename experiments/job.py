"""What one run needs and where it is; predictions and records of it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from experiments import evaluate, loop
from experiments.problem import Problem
from experiments.programs import Programs, over_streams
from experiments.records import Records, Sink, Sinks, TensorBoard
from experiments.strategies import Strategy
from tl_jax import data, distribute
from tl_jax.types import Algorithm, Frozen, State


class Part(NamedTuple):
    """A phase made ready: what compiles for it and who plays."""

    algorithm: Algorithm
    step: Programs
    predict: Programs
    after: dict[int, Programs]
    """Number of adaptation steps -> predictions after so many."""


class Job(NamedTuple):
    """What one run needs; `parts` is shared by the seeds of a strategy."""

    problem: Problem
    strategy: Strategy
    seed: int
    rows: data.Splits
    folder: Path
    config: ConfigDict
    parts: dict[tuple[int, int], Part]
    stop: Any
    """() -> True once the process was asked to end."""


class Position(NamedTuple):
    """Where a run is: what its checkpoints say beside the arrays."""

    phase: int = 0
    starts: tuple[int, ...] = ()
    """First step of each phase so far."""
    known: loop.Progressed = loop.Progressed()
    step: int = 0


def position(meta: dict[str, Any]) -> Position:
    """Where a checkpoint's `meta` says that the run was."""
    known = meta["known"] | {"pending": tuple(meta["known"]["pending"])}
    starts = tuple(meta["starts"])
    return Position(meta["phase"], starts, loop.Progressed(**known), meta["step"])


def predicted(
    job: Job, program: Programs, state: State, frozen: Frozen, split: str
) -> evaluate.Predicted:
    """Logits of a split under the present weights."""
    problem = job.problem

    def run(inputs: Any) -> Any:
        return program(state, frozen, problem.batch(inputs))

    predict = over_streams(problem.layout, run)
    return evaluate.predict_all(predict, problem.streams(job.rows[split], split))


def asked(job: Job, together: bool) -> bool:
    """True once a process was asked to end; many ask each other only `together`."""
    if jax.process_count() == 1:
        return job.stop()
    return together and distribute.agree(job.stop())


@contextmanager
def sinks_of(job: Job, sound: Any) -> Iterator[tuple[Sink, Sink]]:
    """Records and timings, cut back to the checkpoint that the run goes on from.

    The first process alone writes them.
    """
    resume = -1 if sound is None else sound.step
    if not distribute.is_first():
        yield Sinks(), Sinks()
        return
    with ExitStack() as opened:
        records = Records(job.folder / "records.jsonl", resume_step=resume)
        both = [opened.enter_context(closing(records))]
        if job.config.tensorboard:
            events = TensorBoard(job.folder / "tensorboard", resume_step=resume)
            both.append(opened.enter_context(closing(events)))
        timings = Records(job.folder / "timings.jsonl", resume_step=resume)
        yield Sinks(*both), opened.enter_context(closing(timings))
