"""A study: strategies times seeds on the same splits, resumable, with a report."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict
from rich.console import Console

from experiments import report, run, store, together
from experiments.data import fetched
from experiments.job import Job, asked
from experiments.loop import Stopped
from experiments.phases import held, idle_rules
from experiments.plans import first_plan
from experiments.problem import Problem, make_problem
from experiments.settings import check, names
from experiments.shift.pairs import every_pair
from experiments.strategies import Strategy, make_strategy
from experiments.versions import machine, versions
from experiments.workdir import check_workdir, locked
from tl_jax import assets, data, distribute
from tl_jax.checkpoint import write_atomic
from tl_jax.pretrained.spec import ASSETS
from tl_jax.transfer import describe


def study(
    config: ConfigDict, workdir: Path, command: list[str], stop: Callable[[], bool]
) -> None:
    """Run everything that `config` asks for and is not there yet; then the report.

    Of several pairs of domains each is a study of its own.

    Everything that can be wrong with a config is found before the first compilation.
    """
    if config.shift.pairs:
        return every_pair(config, workdir, command, stop, study)
    first = distribute.is_first()
    console = Console(stderr=True, highlight=False, quiet=not first)
    check(config)
    check_workdir(config, workdir)
    if first:  # the others find them in the cache
        fetch_assets(config, console)
    distribute.meet("assets")
    problem = make_problem(config)
    rows = {seed: problem.split(seed) for seed in config.seeds}
    asked = json.loads(config.to_json_best_effort())
    config = with_steps(config, len(rows[config.seeds[0]]["train"]))
    strategies = [make_strategy(name, config) for name in names(config)]
    for strategy in strategies:
        dry_plan(problem.outline(strategy), strategy)
    note_cut(problem, console)
    with locked(workdir) if first else nullcontext():
        if first:
            write_study(config, asked, workdir, command, strategies, problem, rows)
        distribute.meet("study")
        seeds = ", ".join(map(str, config.seeds))
        console.print(
            f"{config.name}: {len(strategies)} strategies, seeds {seeds}; "
            + ", ".join(f"{n} {len(r)}" for n, r in rows[config.seeds[0]].items())
        )
        work = together_by_seed if config.together else one_by_one
        work(config, workdir, problem, strategies, rows, stop, console)
        if first:
            console.print(f"report: {report.build(workdir)}")


def one_by_one(
    config: ConfigDict,
    workdir: Path,
    problem: Problem,
    strategies: list[Strategy],
    rows: dict[int, data.Splits],
    stop: Callable[[], bool],
    console: Console,
) -> None:
    """Strategy after strategy, each with all seeds; the table after each."""
    for strategy in strategies:
        parts: dict = {}
        own = problem.of(strategy)
        todo = [
            Job(own, strategy, seed, rows[seed], folder, config, parts, stop)
            for seed in config.seeds
            if not store.ended(folder := workdir / strategy.name / str(seed))
        ]
        if todo:
            console.print(
                f"{strategy.title}\n{dry_plan(own, strategy)}",
                markup=False,
                soft_wrap=True,
            )
        run_all(todo, console)
        if distribute.is_first():
            report.print_table(workdir)


def together_by_seed(
    config: ConfigDict,
    workdir: Path,
    problem: Problem,
    strategies: list[Strategy],
    rows: dict[int, data.Splits],
    stop: Callable[[], bool],
    console: Console,
) -> None:
    """All strategies of a seed in one program; the table after each seed."""
    parts: dict = {}
    console.print(
        f"{strategies[0].title}\n{dry_plan(problem, strategies[0])}",
        markup=False,
        soft_wrap=True,
    )
    for seed in config.seeds:
        of = rows[seed], config, parts, stop
        jobs = [
            Job(problem, s, seed, of[0], workdir / s.name / str(seed), *of[1:])
            for s in strategies
        ]
        if all(store.ended(job.folder) for job in jobs):
            continue
        metric = next(iter(problem.task.metrics))
        folder = workdir / ".together" / str(seed)
        for job, result in zip(jobs, together.execute(jobs, folder), strict=True):
            tell(console, job.strategy, result, metric)
        if distribute.is_first():
            report.print_table(workdir)


def run_all(jobs: list[Job], console: Console) -> None:
    """The runs one after another; raises `Stopped` if asked to end between two."""
    for job in jobs:
        if asked(job, together=True):
            raise Stopped("stopped between two runs; the same command goes on")
        result = run.execute(job)
        tell(console, job.strategy, result, next(iter(job.problem.task.metrics)))


def note_cut(problem: Problem, console: Console) -> None:
    """Say what was odd about the source, and how much of the inputs is left out."""
    cut, length = problem.encoded.cut, problem.config.data.length
    for note in problem.examples.notes:
        console.print(f"{problem.examples.name}: {note}", markup=False)
    if cut and problem.encoded.follows:
        console.print(f"warning: {cut} labels lie behind the first {length} tokens")
    elif cut:
        share = cut / data.size(problem.examples)
        console.print(f"{share:.0%} of the texts are cut to {length} tokens")


def fetch_assets(config: ConfigDict, console: Console) -> None:
    """Download what the config names and is not there yet, with progress shown."""
    known = data.catalogue()
    wanted = []
    if config.model.spec in ASSETS:
        wanted.append(getattr(assets, ASSETS[config.model.spec][0]))
    for source in (config.data.source, *config.shift.sources, config.shift.target):
        if source in known:
            wanted += known[source].assets
    for asset in wanted:
        if not assets.is_cached(asset):
            fetched(console, asset)


def with_steps(config: ConfigDict, examples: int) -> ConfigDict:
    """The config with its number of steps known."""
    config = config.copy_and_resolve_references()
    if not config.steps:
        config.steps = max(round(config.epochs * examples / config.batch_size), 1)
    return config


def dry_plan(problem: Problem, strategy: Strategy) -> str:
    """Build every phase's plan on shapes alone, so that a rule without match shows.

    Returns what `describe` says of each.
    """
    key = jax.random.key(0)
    try:
        phases = held(
            problem.config,
            strategy,
            problem.task,
            problem.augment,
            problem.base.model,
            lambda: first_plan(problem, strategy, key),
            parts=problem.layout.batch_parts,
            counts=problem.counts,
        )
    except (ValueError, TypeError) as error:
        if str(error).startswith("config."):  # it says where
            raise
        at = f"config.strategies.{strategy.name}.plan"
        raise ValueError(f"{at}: {error}") from error
    many = len(phases) > 1
    tables = [
        (f"phase {own.phase.name}\n" if many else "") + describe(own.plan)
        for own in phases
    ]
    for rule in idle_rules(problem.layout, phases):
        tables.append(f"warning: config.mesh.rules: {rule!r} matches nothing here")
    return "\n".join(tables)


def write_study(
    config: ConfigDict,
    asked: dict[str, Any],
    workdir: Path,
    command: list[str],
    strategies: list[Strategy],
    problem: Problem,
    rows: dict[int, data.Splits],
) -> None:
    """`study.json`: what the report needs to know about all runs."""
    first = rows[config.seeds[0]]
    info = {
        "name": config.name,
        "command": command,
        "config": json.loads(config.to_json_best_effort()),
        "asked": asked,
        "versions": versions(),
        "machine": machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "classes": list(problem.classes),
        "task": problem.task.name,
        "reference": config.reference if config.reference in names(config) else None,
        "metric": next(iter(problem.task.metrics)),
        "higher_is_better": problem.task.mode == "max",
        "strategies": {s.name: {"title": s.title, "note": s.note} for s in strategies},
        "seeds": list(config.seeds),
        "data": {
            "name": problem.examples.name,
            "licence": problem.examples.licence,
            **{name: len(part) for name, part in first.items()},
        },
        "model": {k: problem.base.source[k] for k in ("spec", "hash")},
        "opened_target_labels": [s.name for s in strategies if s.shift.opened],
    }
    path = workdir / "study.json"
    if path.is_file():
        before = json.loads(path.read_text())
        info["started"] = before["started"]
        info["reference"] = info["reference"] or before["reference"]
        info["strategies"] = before["strategies"] | info["strategies"]
        info["seeds"] = sorted({*before["seeds"], *info["seeds"]})
    write_atomic(path, json.dumps(info, indent=1) + "\n")


def tell(console: Console, strategy: Strategy, result: dict, metric: str) -> None:
    """One line when a run has ended."""
    console.print(
        f"{strategy.name} seed {result['seed']}: {metric} "
        f"{result['test'][metric]:.3f} "
        f"(validation {result['validation'][metric]:.3f}) "
        f"in {result['seconds']:.0f} s; {result['programs']} programs, "
        f"{result['compile_seconds']:.0f} s to compile"
    )
    sys.stderr.flush()
