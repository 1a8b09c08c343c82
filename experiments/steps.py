"""The steps of a phase: what the loop calls for a run, and the loop."""

from typing import Any

from experiments import loop, store
from experiments.choice import choice_of
from experiments.job import Job, Part, Position, asked
from experiments.progress import Progress
from experiments.strategies import Phase
from tl_jax import distribute
from tl_jax.types import Frozen, Key, State


def progress_of(title: str, phase: Phase, at: Position, state: State) -> Progress:
    """A bar of the phase's steps."""
    done = int(state.step) - at.starts[at.phase]
    return Progress(title, phase.steps, done, shown=distribute.is_first())


def hooks_of(
    job: Job,
    saved: Any,
    sinks: tuple,
    part: Part,
    own: dict[str, list[str]],
    key: Key,
    at: Position,
    phase: Phase,
    progress: Progress,
) -> loop.Hooks:
    """What the loop calls for a run."""
    problem, config = job.problem, job.config
    records, timings = sinks
    final = at.phase == len(job.strategy.phases) - 1
    source, layout = problem.base.source, problem.layout
    choice = choice_of(job, part)

    def save(step: int, state: State, frozen: Frozen, known: Any, score: Any) -> None:
        place = at._replace(known=known, step=step)
        ranked = score if final else None
        kept = store.own_leaves(frozen, own)
        store.save(saved, place, state, kept, ranked, config, source, key)

    return loop.Hooks(
        batches=problem.batches(job.rows["train"], job.seed, phase.recipe),
        evaluate=choice.evaluate,
        score=choice.score,
        save=save,
        records=records,
        timings=timings,
        progress=progress,
        stop=lambda together: asked(job, together),
        place=lambda batches: distribute.place_batch(layout, batches, 1),
    )


def loop_of(
    job: Job,
    part: Part,
    state: State,
    frozen: Frozen,
    key: Key,
    at: Position,
    phase: Phase,
    hooks: loop.Hooks,
) -> tuple[State, Position]:
    """The loop from wherever the state is to the end of the phase."""
    problem, last = job.problem, at.starts[at.phase] + phase.steps
    every = loop.Every(**job.config.every)
    every = every._replace(evaluate=every.evaluate or max(phase.steps // 10, 1))
    every = every._replace(checkpoint=every.checkpoint or every.evaluate)
    try:
        done = bool(phase.patience) and at.known.bad >= phase.patience
        span = (int(state.step), int(state.step) if done else last)
        state, known = loop.train(
            part.step,
            state,
            {**frozen, **problem.resident},
            distribute.replicate(problem.layout, key),
            span=span,
            every=every,
            hooks=hooks,
            patience=phase.patience,
            known=at.known,
        )
    finally:
        hooks.progress.close()
    return state, at._replace(known=known, step=int(state.step))
