"""Label new texts or pictures with a model of a finished study.

    python -m experiments.predict --workdir runs/mine --input new.csv
    python -m experiments.predict --workdir runs/mine --input new.txt \\
        --output labels.jsonl --strategy lora --seed 1
    python -m experiments.predict --workdir runs/emoji --input pictures/
    python -m experiments.predict --workdir runs/glyphs --input pictures/ \\
        --support examples/

Of pictures it takes a file or a folder with all in it, and gives each one's name. Of
texts it reads .txt (a text a line), .csv, .tsv or .jsonl, with the study's text column
(`question` and `context` for spans, `tokens` for tags). A learner of a few-shot study
knows no classes: it learns those of --support, a folder with a sub-folder a class, or
a .csv, .tsv or .jsonl with texts and labels; any number of examples a class. Writes
.jsonl or .csv, or a table to the terminal. Without --strategy it takes the one that
was best on validation. One that aligns features of two domains (`align`) reads the
study's own rows again, to fit its map.
Exit codes: 0 done, 2 a bad argument, file or folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BAD = 2


class Chosen(NamedTuple):
    """Which run predicts."""

    strategy: str
    seed: int
    folder: Path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m experiments.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--workdir", required=True, type=Path, help="of a study")
    made.add_argument("--input", required=True, type=Path, help="texts or pictures")
    made.add_argument("--support", type=Path, help="few-shot: examples with labels")
    made.add_argument("--output", type=Path, help=".jsonl or .csv; else a table")
    made.add_argument("--strategy", help="default: the best on validation")
    made.add_argument("--seed", type=int, help="default: the first that has ended")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns its exit code."""
    given = parser().parse_args(argv)
    try:
        rows, chosen = predict(given)
        if given.output is None:
            from experiments.answers import print_rows

            print_rows(rows, f"{chosen.strategy}, seed {chosen.seed}")
        else:
            from experiments.answers import write_rows

            write_rows(given.output, rows)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD
    return 0


def predict(given: argparse.Namespace) -> tuple[list[dict[str, Any]], Chosen]:
    """A row of answers an example, in the order of the input, and who gave them."""
    from experiments import answers
    from experiments.study import load

    if given.output is not None:
        answers.check_output(given.output)
    study = load(given.workdir)
    _check_support(study.info, given.workdir, given.support)
    chosen = choose(study, given.strategy, given.seed)
    from experiments.compiled import use_cache

    use_cache()
    if given.support is not None:
        from ml_collections import ConfigDict

        from experiments.from_support import answer

        config = ConfigDict(study.info["config"])
        found = answer(config, *chosen, given.support, given.input)
        return answers.rows(*found), chosen
    problem, config = _problem(study.info, given.input)
    for note in problem.examples.notes:
        print(f"note: {note}", file=sys.stderr)
    logits = _logits(problem, config, chosen)
    return answers.rows(problem, logits), chosen


def _check_support(info: dict[str, Any], workdir: Path, support: Path | None) -> None:
    """Raise where a support set is missing, or is nothing that the study reads."""
    task = info.get("task")
    if task == "fewshot_regression":
        raise ValueError(
            f"--workdir {workdir}: a study of task {task!r} is of generated numbers, "
            "which this command can't read; its test episodes are in each run's "
            "predictions.npz"
        )
    if support is not None and task != "fewshot":
        raise ValueError(
            f"--support {support}: --workdir {workdir} is a study of task {task!r}, "
            "but only a fewshot one learns from a support set"
        )
    if support is None and task == "fewshot":
        raise ValueError(
            f"--workdir {workdir}: a study of task {task!r} answers queries only after "
            "a support set: give --support, a folder with a sub-folder a class, or a "
            "table of texts and labels"
        )


def choose(study: Any, strategy: str | None, seed: int | None) -> Chosen:
    """The run that is asked for, else the best; raises ValueError if it can't be."""
    from tl_jax.tree import no_match

    ended = {
        name: {run.seed: run for run in runs if run.result is not None}
        for name, runs in study.runs.items()
    }
    if strategy is not None and strategy not in ended:
        raise no_match("--strategy", strategy, ended)
    if strategy is None:
        strategy = _best(study.info, ended, study.root)
    runs = ended[strategy]
    if not runs:
        raise ValueError(
            f"--strategy {strategy}: no run of it has ended; {study.missing[0]}"
        )
    seed = next(iter(runs)) if seed is None else seed
    if seed not in runs:
        raise ValueError(
            f"--seed {seed}: {strategy} has not ended with it; there are: "
            f"{', '.join(map(str, runs))}"
        )
    return Chosen(strategy, seed, runs[seed].path)


def _best(info: dict, ended: dict[str, dict[int, Any]], root: Path) -> str:
    """The strategy of the best mean on validation."""
    metric, sign = info["metric"], 1 if info.get("higher_is_better", True) else -1
    scores = {
        name: sign * np.mean([r.result["validation"][metric] for r in runs.values()])
        for name, runs in ended.items()
        if runs
    }
    if not scores:
        raise ValueError(f"{root}: no run has ended; run the study to its end first")
    return max(scores, key=lambda name: np.nan_to_num(scores[name], nan=-np.inf))


def _problem(info: dict[str, Any], path: Path) -> tuple[Any, Any]:
    """The study's problem with new texts, and its config."""
    import jax
    from ml_collections import ConfigDict

    from experiments.backbone import load_base
    from experiments.inputs import encode
    from experiments.problem import Problem, written_by
    from experiments.shift.features import new_rows
    from experiments.shift.settings import shift_of
    from experiments.tasks import make_task
    from experiments.unlabelled import read_pictures, read_texts
    from tl_jax.distribute import layout

    config = ConfigDict(info["config"])
    one = layout(devices=jax.local_devices()[:1])
    base, classes = load_base(config, one), tuple(info["classes"])
    read = read_texts if base.preprocess is None else read_pictures
    examples = read(path, config)
    task = make_task(config.task, classes, **written_by(base, config))
    encoded = encode(examples, base, config)
    outputs = task.outputs(len(classes))
    problem = Problem(base, task, outputs, classes, examples, encoded, config, one)
    if shift_of(config).features:
        problem = new_rows(problem)
    return problem, config


def _logits(problem: Any, config: Any, chosen: Chosen) -> np.ndarray:
    """Logits [N ...] of every example under the weights of a run."""
    import jax

    from experiments import store
    from experiments.evaluate import predict_all
    from experiments.plans import base_params, last_plan
    from experiments.problem import make_problem
    from experiments.programs import applying, over_streams
    from experiments.shift.measures import mapped_as_target
    from experiments.strategies import make_strategy
    from tl_jax import data
    from tl_jax.distribute import place
    from tl_jax.transfer import plain

    strategy = make_strategy(chosen.strategy, config)
    if strategy.shift.align:
        problem = mapped_as_target(problem, make_problem(config), strategy)
    plan = plain(last_plan(problem, strategy, jax.random.key(chosen.seed)))
    base = base_params(problem, strategy)
    plan = store.load_model(chosen.folder, plan, base, problem.base.source)

    program = applying(problem.base.model, problem.layout, problem.task.read)
    params, stats = place(problem.layout, (plan.params, plan.stats))
    of = over_streams(problem.layout, lambda inputs: program(params, stats, inputs))
    streams = data.evaluation(
        problem.encoded.columns,
        batch=min(config.eval_batch_size, data.size(problem.examples)),
        buckets=problem.encoded.buckets,
    )
    return predict_all(of, streams).logits


if __name__ == "__main__":
    sys.exit(main())
