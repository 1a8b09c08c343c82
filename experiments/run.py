"""One run: a strategy and a seed, through its phases, resumable at any moment."""

import time
from typing import Any

import jax

from experiments import adaptation, evaluate, loop, mistakes, steps, store
from experiments.algorithms import PLAYER, algorithm_of
from experiments.fits import fit_head, measured
from experiments.job import (
    Job,
    Part,
    Position,
    position,
    predicted,
    sinks_of,
)
from experiments.phases import cast_of, setting_of
from experiments.plans import base_params, first_plan, next_plan
from experiments.programs import Programs, predicting, training
from experiments.records import seconds_until, step_seconds
from experiments.strategies import Phase
from tl_jax import checkpoint, distribute
from tl_jax.algorithms import AVERAGE, START, current, replan
from tl_jax.transfer import describe, plain, totals, unstack_layers
from tl_jax.tree import diff
from tl_jax.types import Frozen, Key, Plan, Player, State


def execute(job: Job) -> dict[str, Any]:
    """Run to the end, from the newest checkpoint if there is one, and write results.

    Raises `loop.NotFinite`, naming the last good checkpoint, or `loop.Stopped`.
    """
    began, compiled = time.perf_counter(), compiling(job)
    job.folder.mkdir(parents=True, exist_ok=True)
    best_of = 0 if job.config.select == "last" else 1
    folder = job.folder / "checkpoints"
    with checkpoint.open(folder, keep_last=2, keep_best=best_of) as saved:
        sound = saved.restore_flat() if saved.steps() else None
        timed = job.folder / "timings.jsonl"
        spent = 0.0 if sound is None else seconds_until(timed, sound.step)
        try:
            with sinks_of(job, sound) as sinks:
                state, frozen, players, part, at = _phases(job, saved, sound, sinks)
                if best_of and (best := saved.best()) is not None:
                    state, frozen = store.restore(saved, best, state, frozen)
                    at = at._replace(known=at.known._replace(scores=None))
                result = finish(job, state, frozen, players, part, at, began)
                result["compile_seconds"] = compiling(job) - compiled
                result["seconds"] += spent
        except loop.NotFinite as error:
            last = saved.latest()
            good = "there is no checkpoint yet" if last is None else f"step {last}"
            raise loop.NotFinite(
                f"{job.folder}: {error}; last good checkpoint: {good}"
            ) from None
    distribute.meet(f"end of {job.folder}")  # no checkpoint is being written
    if distribute.is_first():
        store.finish(job.folder, result, keep=job.config.keep_optimiser)
    distribute.meet(f"result of {job.folder}")
    return result


def _phases(job: Job, saved: Any, sound: Any, sinks: tuple) -> tuple:
    """Every phase in turn: (state, frozen, players, part, position) at the end."""
    key, layout = jax.random.key(job.seed), job.problem.layout
    plan = first_plan(job.problem, job.strategy, key)
    base = base_params(job.problem, job.strategy)
    found = None if sound is None else position(sound.meta)
    at = found or Position()
    state = frozen = players = part = None
    tables: list[str] = []
    for number, phase in enumerate(job.strategy.phases):
        behind = found is not None and number < found.phase
        here = found is not None and number == found.phase
        if state is not None:
            state, frozen = distribute.local(layout, (state, frozen))
            plan = current(players[PLAYER], PLAYER, state, frozen).plan
        plan = next_plan(job.config, phase, key, plan)
        if phase.fit and state is not None:  # moments, averages: of another head
            kept = ("stats", START)
            memory = {name: m for name, m in state.memory.items() if name in kept}
            state = state._replace(opt={}, memory=memory)
        before = job.strategy.phases[max(number - 1, 0)]
        if state is not None and (phase.search or before.search):
            state = state._replace(opt={})  # neither knows the other's counts
        if not (behind or here):
            if phase.fit:
                plan = fit_head(phase.fit, job.problem, plan, job.rows, job.seed)
            plan = measured(phase.added.fits, job.problem, plan, job.rows)
        if len(at.starts) <= number:
            at = Position(number, (*at.starts, at.step), loop.Progressed(), at.step)
        first = at.starts[number]
        cast = cast_of(phase, key, job.problem.base.model, plan, first)
        part = _part(job, number, first, cast)
        if state is None:
            state, frozen = part.algorithm.init(key, cast)
        else:
            cast = _go_on(cast, players or {}, state, frozen)
            state, frozen = replan(part.algorithm, key, cast, state)
        players = cast
        tables.append(f"phase {phase.name}\n{describe(plan)}\n")
        if distribute.is_first():
            checkpoint.write_atomic(job.folder / "plan.txt", "\n".join(tables))
        known = {PLAYER: base}
        own = {n: list(diff(leaves, known.get(n, {}))) for n, leaves in frozen.items()}
        state, frozen = distribute.place(layout, (state, frozen))
        if here:
            state, frozen = store.restore(saved, sound.step, state, frozen)
        if not behind and phase.steps:
            state, at = _train(
                job, saved, sinks, part, state, frozen, own, key, at, phase
            )
    return state, frozen, players, part, at


def _go_on(
    cast: dict[str, Player], before: dict[str, Player], state: State, frozen: Frozen
) -> dict[str, Player]:
    """Players who played before, beside the model, with the weights that they had."""
    kept = {
        name: player._replace(plan=current(before[name], name, state, frozen).plan)
        for name, player in cast.items()
        if name != PLAYER and name in before
    }
    return cast | kept


def _part(job: Job, number: int, first: int, players: dict[str, Player]) -> Part:
    """The phase's algorithm and programs, made once for all seeds."""
    if (number, first) not in job.parts:
        problem, phase = job.problem, job.strategy.phases[number]
        layout = problem.layout
        more = dict(parts=layout.batch_parts, draw=problem.draw)
        more |= dict(counts=problem.counts)
        of = problem.task, job.strategy, phase, problem.augment
        setting, recipe = setting_of(job.config, *of, **more), phase.recipe
        algorithm = algorithm_of(recipe.make, setting, players)
        programs = (
            training(algorithm, layout),
            predicting(algorithm, layout, problem.task.read),
        )
        after = {}
        if recipe.steps is not None:
            for steps in job.config.episodes.curve:
                made = algorithm_of(recipe.steps(steps), setting, players)
                after[steps] = predicting(made, layout, problem.task.read)
        job.parts[number, first] = Part(algorithm, *programs, after)
    return job.parts[number, first]


def _train(
    job: Job,
    saved: Any,
    sinks: tuple,
    part: Part,
    state: State,
    frozen: Frozen,
    own: dict[str, list[str]],
    key: Key,
    at: Position,
    phase: Phase,
) -> tuple[State, Position]:
    """The steps of one phase, from wherever the state is.

    `own` are the paths of frozen leaves that are not in the base.
    """
    title = f"{job.strategy.name} seed {job.seed}"
    title += f" {phase.name}" if len(job.strategy.phases) > 1 else ""
    progress = steps.progress_of(title, phase, at, state)
    hooks = steps.hooks_of(job, saved, sinks, part, own, key, at, phase, progress)
    return steps.loop_of(job, part, state, frozen, key, at, phase, hooks)


def finish(
    job: Job,
    state: State,
    frozen: Frozen,
    players: dict[str, Player],
    part: Part,
    at: Position,
    began: float,
) -> dict[str, Any]:
    """Score the test split, write weights and predictions; the result's fields."""
    problem, task, config = job.problem, job.problem.task, job.config
    found = predicted(job, part.predict, state, frozen, "test")
    held_out = at.known.scores
    if held_out is None:
        choice = predicted(job, part.predict, state, frozen, "validation")
        held_out = evaluate.score(task, choice)
    scores = evaluate.score(task, found)
    step = int(state.step)
    shown = state._replace(train=state.memory.get(AVERAGE, state.train))
    plans = _last_plans(job, players, shown, frozen)
    after = {k: predicted(job, p, state, frozen, "test") for k, p in part.after.items()}
    adapted = adaptation.table(job, part, state, frozen, after)
    if distribute.is_first():
        base = base_params(problem, job.strategy)
        for name, plan in plans.items():
            known = base if name == PLAYER else {}
            own = plain(plan), known, problem.base.source
            store.save_model(job.folder, *own, name)
        store.save_predictions(job.folder, found, task.decide(found.logits))
        mistakes.save(job.folder, problem, found)
        adaptation.save(job.folder, adapted)
    judged = problem.judge(job, part, state, frozen)
    sums = [totals(plan) for plan in plans.values()]
    ends = evaluate.intervals(task, found, job.seed, config.resamples)
    programs = _programs(job)
    return {
        "strategy": job.strategy.name,
        "seed": job.seed,
        "steps": at.step,
        "best_step": step,
        "test": scores | {"intervals": ends},
        "validation": held_out,
        "trainable": sum(trainable for trainable, _ in sums),
        "total": sum(total for _, total in sums),
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": max(p.bytes for p in programs) / 1e6,
        "step_seconds": step_seconds(job.folder / "timings.jsonl"),
        "saved_mb": store.saved_bytes(job.folder) / 1e6,
        "programs": sum(len(p) for p in programs),
        "after": {str(k): evaluate.score(task, own) for k, own in after.items()},
        "confusion": evaluate.confusion(task, found, len(problem.classes)),
        "starts": list(at.starts),
        **judged,
    }


def _last_plans(
    job: Job, players: dict[str, Player], state: State, frozen: Frozen
) -> dict[str, Plan]:
    """Player -> its plan with the last weights, whole in this process."""
    layout, plans = job.problem.layout, {}
    for name, player in players.items():
        plan = unstack_layers(current(player, name, state, frozen).plan)
        params = distribute.gather(layout, plan.params)
        plans[name] = Plan(params, plan.rates, distribute.gather(layout, plan.stats))
    return plans


def compiling(job: Job) -> float:
    """Seconds spent on programs so far, by all seeds that share them."""
    return sum(p.seconds for p in _programs(job))


def _programs(job: Job) -> list[Programs]:
    """All programs of the strategy so far."""
    parts = job.parts.values()
    every = (p for own in parts for p in (own.step, own.predict, *own.after.values()))
    return list(dict.fromkeys(every))  # runs together share theirs
