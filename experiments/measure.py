"""What data tell of each weight, before any training, for plans that start from it.

    python -m experiments.measure --what=fisher --config configs/finetune.py \\
        --workdir runs/measured --rows=256
    python -m experiments.measure --what=moments --config configs/finetune.py \\
        --workdir runs/measured --where='blocks/.*/(query|value)'

fisher: the mean over training rows of squared gradients of log p(label | inputs), under
the pretrained weights and the fresh head of the config's first seed (Sung et al.,
2021); with config.smoothing or class weights, of the task's loss. moments: the sums
over them of [x 1]^T [x 1] that each dense layer matching --where reads, for EVA
(Paischer et al., 2024). features: those of training rows, and their labels, for a kNN
probe (Wu et al., 2018). The file is WORKDIR/fisher.safetensors, moments.safetensors or
features.safetensors; the same command replaces it. A plan takes it by

    {"transform": "fish_mask", "share": 0.005,
     "scores": "runs/measured/fisher.safetensors"}
    {"transform": "eva", "rank": 8,
     "moments": "runs/measured/moments.safetensors"}
    {"transform": "knn", "k": 20, "rows": "runs/measured/features.safetensors"}

--rows training rows are looked at (256), drawn by the first seed; never test rows.
Where `data.per_class` draws few rows anew for each seed, what trains the first may
validate another: compare on tests, or measure for each seed (--config.seeds=1) apart.
Config, data and devices are those of `experiments.main`, whose `--help` tells of them.
"""

import re
import sys
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console
from safetensors.numpy import save

from experiments import main as command
from experiments.launch import fetch_assets
from experiments.measured import FEATURES, FISHER, MOMENTS, WHAT
from experiments.problem import Problem, make_problem
from experiments.settings import check
from tl_jax import transfer
from tl_jax.checkpoint import write_atomic
from tl_jax.transfer.scaling.sparse import plain_leaves
from tl_jax.tree import matches, one_of, put
from tl_jax.types import Array, Params, Stats, Stream

FLAG = re.compile(r"--(what|where|rows)=(.*)", re.DOTALL)
ROWS = ("classification", "multilabel", "regression")
"""Tasks with a label a row."""
DEFAULTS = {"what": FISHER, "where": ".*", "rows": "256"}


def measure(
    config: ConfigDict, workdir: Path, what: str, where: str, rows: int
) -> Path:
    """The file of one measurement."""
    check(config)
    one_of("config.task for a measurement", config.task, ROWS)
    if config.shift.target:
        raise ValueError(
            f"config.shift.target is {config.shift.target!r}: one domain is looked at; "
            "expected none"
        )
    if jax.process_count() > 1:
        raise ValueError("a measurement is the work of one process; start it alone")
    console = Console(stderr=True, highlight=False)
    fetch_assets(config, console)
    problem, seed = make_problem(config), config.seeds[0]
    train = problem.split(seed)["train"]
    chosen = np.random.default_rng(seed).permutation(train)[:rows]
    made = MAKERS[what](problem, chosen, seed, where)
    told = {WHAT: what, "rows": str(len(chosen)), "seed": str(seed), "where": where}
    told |= {"model": config.model.spec, "source": config.data.source}
    workdir.mkdir(parents=True, exist_ok=True)
    file = workdir / f"{what}.safetensors"
    arrays = {name: np.asarray(leaf) for name, leaf in made.items()}
    write_atomic(file, save(arrays, told))
    console.print(f"{what} of {len(made)} leaves over {len(chosen)} rows: {file}")
    return file


def fisher(
    problem: Problem, rows: np.ndarray, seed: int, where: str
) -> dict[str, Array]:
    """Path -> scores of the pretrained leaves and the head that match."""
    model = problem.base.model
    plan = transfer.full(problem.base.params, problem.base.stats)
    head = transfer.new_head(problem.outputs, model.width)
    params = head(jax.random.key(seed), plan).params
    names = matches(where, plain_leaves(params), "--where")

    def scores(params: Params, stats: Stats, stream: Stream) -> dict[str, Array]:
        def log_likelihood(moving: Params, example: Stream) -> Array:
            one = jax.tree.map(lambda x: x[None], example)
            whole = reduce(lambda tree, item: put(tree, *item), moving.items(), params)
            outputs, _ = model.apply(whole, stats, one["inputs"])
            return -(problem.task.loss(outputs, one) * one["weight"])[0]

        leaves = plain_leaves(params)
        return transfer.fisher(log_likelihood, {n: leaves[n] for n in names}, stream)

    # Weights are arguments: as constants, XLA would spend minutes on them.
    step = partial(jax.jit(scores), params, plan.stats)
    return _summed(problem, rows, step, lambda stream: len(stream["weight"]), len(rows))


def moments(
    problem: Problem, rows: np.ndarray, seed: int, where: str
) -> dict[str, Array]:
    """Path of a site -> the sums of its inputs' products."""
    base = problem.base

    def sums(params: Params, stats: Stats, stream: Stream) -> dict[str, Array]:
        of = params, stats, stream["inputs"], where
        return transfer.input_moments(base.model, *of)

    step = partial(jax.jit(sums), base.params, base.stats)
    return _summed(problem, rows, step, lambda stream: 1, 1)


def features(
    problem: Problem, rows: np.ndarray, seed: int, where: str
) -> dict[str, Array]:
    """Features [N D] and labels [N]."""
    base = problem.base
    one_of("config.task for --what=features", problem.task.name, ROWS[:1])

    def read(params: Params, stats: Stats, stream: Stream) -> Array:
        return base.model.apply(params, stats, stream["inputs"])[0].features

    step, parts = jax.jit(read), []
    for stream in problem.streams(rows, "train"):
        real = stream["weight"] > 0
        found = step(base.params, base.stats, stream)
        parts.append((np.asarray(found)[real], stream["labels"][real]))
    found, labels = map(np.concatenate, zip(*parts, strict=True))
    return {"features": found, "labels": labels}


MAKERS = {FISHER: fisher, MOMENTS: moments, FEATURES: features}
"""What can be measured, by name."""


def _summed(
    problem: Problem,
    rows: np.ndarray,
    step: Callable[[Stream], dict[str, Array]],
    times: Callable[[Stream], int],
    over: int,
) -> dict[str, Array]:
    """The sum of `step` of every stream by `times`, over a number."""
    total: dict[str, Array] = {}
    for stream in problem.streams(rows, "train"):
        real = int(np.sum(stream["weight"] > 0))
        own = {n: stream[n] for n in ("inputs", "labels", "weight")}
        own = jax.tree.map(lambda x, n=real: x[:n], own)  # padding is not read
        found = step(own)
        for path, leaf in found.items():
            total[path] = total.get(path, 0.0) + leaf * (times(own) / over)
    return total


def asked(argv: list[str]) -> tuple[str, str, int, list[str]]:
    """What, where, how many rows, and what is left of a command line.

    Raises `NoMatch` or ValueError.
    """
    given = {m[1]: m[2] for a in argv if (m := FLAG.fullmatch(a))}
    own = DEFAULTS | given
    one_of("--what", own["what"], MAKERS)
    if not own["rows"].isdecimal() or int(own["rows"]) < 1:
        raise ValueError(f"--rows is {own['rows']!r}, expected a number of rows")
    rest = [a for a in argv if not FLAG.fullmatch(a)]
    return own["what"], own["where"], int(own["rows"]), rest


def main(argv: list[str]) -> int:
    """The whole command; returns its exit code."""
    if "--help" in argv:
        print(__doc__)
        return 0
    try:
        what, where, rows, rest = asked(argv)
    except ValueError as error:
        return command.fail(error, command.BAD)

    def work(config: ConfigDict, workdir: Path, stop: Callable[[], bool]) -> None:
        measure(config, workdir, what, where, rows)

    return command.guarded(rest, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
