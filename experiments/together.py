"""Strategies that differ in numbers alone, trained together in one compiled step.

Each is a run of its own on disk, with the records and weights that it would have had.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments import evaluate, loop, run, steps, store
from experiments.algorithms import PLAYER, algorithm_of
from experiments.job import Job, Part, Position, position, predicted, sinks_of
from experiments.phases import cast_of, setting_of
from experiments.plans import base_params, first_plan, next_plan
from experiments.programs import predicting, training
from experiments.records import Spread, seconds_until
from tl_jax import checkpoint, distribute
from tl_jax.algorithms import AVERAGE, many, one_of_many
from tl_jax.optim import by_factor
from tl_jax.transfer import cut_ranks, describe
from tl_jax.tree import diff
from tl_jax.types import Frozen, Outputs, Player, State


def execute(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Train the jobs, of one seed, in one program and finish each; their results.

    Goes on from the newest checkpoint in `folder`, which is gone at the end. Raises as
    `run.execute`.
    """
    first = jobs[0]
    part, runs = _built(jobs)
    key, phase = jax.random.key(first.seed), first.strategy.phases[0]
    for job, cast in zip(jobs, runs, strict=True):
        if distribute.is_first():
            job.folder.mkdir(parents=True, exist_ok=True)
            table = f"phase {phase.name}\n{describe(cast[PLAYER].plan)}\n"
            checkpoint.write_atomic(job.folder / "plan.txt", table)
    began, compiled = time.perf_counter(), run.compiling(first)
    with checkpoint.open(folder, keep_last=2, keep_best=0) as saved:
        sound = saved.restore_flat() if saved.steps() else None
        timed = first.folder / "timings.jsonl"
        spent = 0.0 if sound is None else seconds_until(timed, sound.step)
        state, frozen, at = _train(jobs, saved, sound, part, runs, key)
    share = (time.perf_counter() - began + spent) / len(jobs)
    compiled = (run.compiling(first) - compiled) / len(jobs)
    results = [
        _finish(job, i, runs[i], state, frozen, at, share) for i, job in enumerate(jobs)
    ]
    if distribute.is_first():
        for job, result in zip(jobs, results, strict=True):
            result["compile_seconds"] += compiled
            store.finish(job.folder, result, keep=False)
        shutil.rmtree(folder, ignore_errors=True)
    distribute.meet(f"results of {folder}")
    return results


def _built(jobs: Sequence[Job]) -> tuple[Part, list[dict[str, Player]]]:
    """The programs of all, made once for all seeds, and each job's players."""
    first = jobs[0]
    problem, config, model = first.problem, first.config, first.problem.base.model
    key, runs = jax.random.key(first.seed), []
    for job in jobs:
        phase = job.strategy.phases[0]
        plan = next_plan(config, phase, key, first_plan(problem, job.strategy, key))
        runs.append(cast_of(phase, key, model, plan, 0))
    base, plain = config.strategies[first.strategy.name].rate, runs[0][PLAYER].tx
    for job, cast in zip(jobs, runs, strict=True):
        factor = config.strategies[job.strategy.name].rate / base
        tx = optax.chain(plain, by_factor(factor))
        cast[PLAYER] = cast[PLAYER]._replace(tx=tx)
    if (0, 0) not in first.parts:
        phase, layout = first.strategy.phases[0], problem.layout
        of = problem.task, first.strategy, phase, problem.augment
        known = dict(parts=layout.batch_parts, counts=problem.counts)
        setting = setting_of(config, *of, **known)
        one = algorithm_of(phase.recipe.make, setting, runs[0])
        together = many(one, batching=config.together)
        step = training(together, layout)
        # Predictions of all runs in one program; and of one, at its own rank.
        all_of_them = predicting(together, layout, _rows)
        alone = predicting(one, layout, problem.task.read)
        first.parts[0, 0] = Part(together, step, all_of_them, {})
        first.parts[0, 1] = Part(one, step, alone, {})
    return first.parts[0, 0], runs


def _rows(outputs: Outputs) -> Any:
    """Logits [N B C] as [B N C], flat: a row an example."""
    logits = jnp.moveaxis(outputs.logits, 0, 1)
    return logits.reshape(len(logits), -1)


def _train(
    jobs: Sequence[Job], saved: Any, sound: Any, part: Part, runs: list, key: Any
) -> tuple[State, Frozen, Position]:
    """All steps of all runs; each run's records go into its own file."""
    first, layout = jobs[0], jobs[0].problem.layout
    phase, task = first.strategy.phases[0], first.problem.task
    state, frozen = part.algorithm.init(key, runs)
    known = {PLAYER: base_params(first.problem, first.strategy)}
    own = {n: list(diff(leaves, known.get(n, {}))) for n, leaves in frozen.items()}
    state, frozen = distribute.place(layout, (state, frozen))
    at = Position(0, (0,), loop.Progressed(), 0)
    if sound is not None:
        at = position(sound.meta)
        state, frozen = store.restore(saved, sound.step, state, frozen)

    def scores(state: State, frozen: Frozen) -> dict[str, list[float]]:
        found = predicted(first, part.predict, state, frozen, "validation")
        logits = found.logits.reshape(len(found.logits), len(jobs), -1)
        each = [
            evaluate.score(task, found._replace(logits=logits[:, i]))
            for i in range(len(jobs))
        ]
        return {name: [own[name] for own in each] for name in task.metrics}

    with ExitStack() as opened:
        pairs = [opened.enter_context(sinks_of(job, sound)) for job in jobs]
        sinks = tuple(Spread(*sinks) for sinks in zip(*pairs, strict=True))
        title = f"{len(jobs)} strategies seed {first.seed}"
        progress = steps.progress_of(title, phase, at, state)
        hooks = steps.hooks_of(first, saved, sinks, part, own, key, at, phase, progress)
        one = hooks.score

        def score(found: Mapping[str, list[float]]) -> float:
            return one({name: sum(each) / len(each) for name, each in found.items()})

        hooks = hooks._replace(evaluate=scores, score=score)
        state, at = steps.loop_of(first, part, state, frozen, key, at, phase, hooks)
    return state, frozen, at


def _finish(
    job: Job,
    number: int,
    players: Mapping[str, Player],
    state: State,
    frozen: Frozen,
    at: Position,
    seconds: float,
) -> dict[str, Any]:
    """Weights, predictions and scores of one run, at its own ranks."""
    state, frozen = one_of_many(state, frozen, number)
    memory = dict(state.memory)
    like = {name: player.plan.params for name, player in players.items()}
    for name in {AVERAGE} & memory.keys():
        memory[name] = cut_ranks(memory[name], like)
    train, frozen = cut_ranks(state.train, like), cut_ranks(frozen, like)
    state = state._replace(train=train, memory=memory, opt={})
    held_out = {name: each[number] for name, each in at.known.scores.items()}
    at = at._replace(known=at.known._replace(scores=held_out))
    began, compiled = time.perf_counter() - seconds, run.compiling(job)
    own = job.parts[0, 1]
    result = run.finish(job, state, frozen, dict(players), own, at, began)
    result["compile_seconds"] = run.compiling(job) - compiled
    return result
