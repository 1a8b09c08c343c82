"""Rate trials: python -m experiments.tune --config configs/X.py --workdir DIR.

Runs every strategy that has a rate at `--factors` times that rate (default
0.1,0.3,1,3), each on the config's seeds, and ranks the rates by the mean of the
headline metric on validation, ties by its loss. The test split is never read. It ends
with the lines to put into the config; a second start goes on with what is missing.
Devices and processes are those of `experiments.main`, whose `--help` tells of them.
"""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import main as command
from experiments import run, store
from experiments.job import Job
from experiments.launch import fetch_assets, with_steps
from experiments.problem import Problem, make_problem
from experiments.settings import check, names
from experiments.strategies import make_strategy
from experiments.workdir import check_workdir, locked
from tl_jax import distribute
from tl_jax.checkpoint import write_atomic

RECORD = "tune.json"
"""What the trials in a workdir were asked for."""


def tune(config, workdir: Path, factors: list[float], stop) -> dict[str, dict]:
    """Strategy -> {rate: validation scores, averaged over the seeds}."""
    check(config)
    check_workdir(config, workdir, RECORD)
    first = distribute.is_first()
    if first:  # the others find them in the cache
        fetch_assets(config, Console(stderr=True, highlight=False))
    distribute.meet("assets")
    problem = make_problem(config)
    rows = {seed: problem.split(seed) for seed in config.seeds}
    asked = json.loads(config.to_json_best_effort())
    config = with_steps(config, len(rows[config.seeds[0]]["train"]))
    found: dict[str, dict] = {}
    with locked(workdir) if first else nullcontext():
        if first:
            write_atomic(workdir / RECORD, json.dumps({"asked": asked}) + "\n")
        distribute.meet("trials")
        for name in names(config):
            found |= trials_of(problem, config, name, factors, rows, workdir, stop)
    return found


def trials_of(
    problem: Problem, config, name: str, factors: list[float], rows, workdir, stop
) -> dict[str, dict]:
    """`tune` of one strategy; empty where it has no rate."""
    own = config.strategies[name]
    if own.get("rate", 0.0) <= 0:
        return {}
    rates = [float(f"{own.rate * factor:.3g}") for factor in factors]
    return {
        name: {r: trial(problem, config, name, r, rows, workdir, stop) for r in rates}
    }


def trial(
    problem: Problem, config, name: str, rate: float, rows, workdir, stop
) -> dict:
    """Mean validation scores of one strategy at one rate."""
    config = config.copy_and_resolve_references()
    config.strategies[name].rate = rate
    strategy, parts, scores = make_strategy(name, config), {}, []
    problem = problem.of(strategy)
    for seed in config.seeds:
        folder = workdir / name / f"{rate:g}" / str(seed)
        blind = rows[seed] | {"test": rows[seed]["validation"]}
        job = Job(problem, strategy, seed, blind, folder, config, parts, stop)
        result = store.read_result(folder) or run.execute(job)
        scores.append(result["validation"])
    return {key: sum(s[key] for s in scores) / len(scores) for key in scores[0]}


def chosen(trials: dict[float, dict], metric: str) -> float:
    """The rate with the best headline metric, of equals the lowest loss."""
    return max(trials, key=lambda r: (trials[r][metric], -trials[r].get("loss", 0.0)))


def show(found: dict[str, dict], console: Console) -> None:
    """A table of all trials and what to write into the config."""
    for name, trials in found.items():
        metric = next(iter(next(iter(trials.values()))))
        table = Table("rate", f"validation {metric}", "loss", title=name)
        best = chosen(trials, metric)
        for rate, scores in trials.items():
            mark = " *" if rate == best else ""
            loss = f"{scores['loss']:.3f}" if "loss" in scores else "-"
            values = f"{scores[metric]:.3f}{mark}", loss
            table.add_row(f"{rate:g}", *values)
        console.print(table)
        tried = ", ".join(f"({r:g}, {s[metric]:.3f})" for r, s in trials.items())
        console.print(f'"rate": {best:g}, "trials": ({tried})', highlight=False)


def main(argv: list[str]) -> int:
    """The whole command; returns its exit code."""
    factors = [a for a in argv if a.startswith("--factors=")]
    text = factors[-1].partition("=")[2] if factors else "0.1,0.3,1,3"
    rest = [a for a in argv if a not in factors]
    if "--help" in argv:
        print(__doc__)
        return 0
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        return command.fail(ValueError(f"--factors: {error}"), command.BAD)

    def work(config, workdir: Path, stop) -> None:
        found = tune(config, workdir, values, stop)
        show(found, Console(quiet=not distribute.is_first()))

    return command.guarded(rest, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
