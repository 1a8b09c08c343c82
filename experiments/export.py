"""Write a run of a finished study as a folder that PEFT loads.

    python -m experiments.export --workdir runs/mine --output adapter
    python -m experiments.export --workdir runs/mine --output adapter \\
        --strategy lora --seed 1

The folder holds adapter_config.json and adapter_model.safetensors, with the head; no
torch is needed. In PEFT, give it the base that `adapter_config.json` names, with as
many labels as the study has classes. What PEFT has no kind for, such as full
fine-tuning, is refused: `tl_jax.pretrained.save` writes whole models. A BERT's
classifier is transformers' own where the study has `model.features=pooler`. Without
--strategy it takes the one that was best on validation.
Exit codes: 0 done, 2 a bad argument, study or plan.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.predict import BAD, Chosen, choose


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m experiments.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--workdir", required=True, type=Path, help="of a study")
    made.add_argument("--output", required=True, type=Path, help="a new folder")
    made.add_argument("--strategy", help="default: the best on validation")
    made.add_argument("--seed", type=int, help="default: the first that has ended")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; returns its exit code."""
    given = parser().parse_args(argv)
    try:
        chosen = export(given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD
    print(f"{chosen.strategy}, seed {chosen.seed}: {given.output}")
    return 0


def export(given: argparse.Namespace) -> Chosen:
    """Write the run that is asked for, and say which it was."""
    import jax
    from ml_collections import ConfigDict

    from experiments import store
    from experiments.backbone import load_base
    from experiments.plans import base_params, last_plan
    from experiments.problem import Problem, written_by
    from experiments.strategies import make_strategy
    from experiments.study import load
    from experiments.tasks import EPISODIC, make_task
    from tl_jax.distribute import layout
    from tl_jax.interop import peft
    from tl_jax.transfer import plain

    study = load(given.workdir)
    if study.info.get("task") in EPISODIC:
        raise ValueError(
            f"--workdir {given.workdir}: a study of task {study.info['task']!r} learns "
            "each task anew; there is no one adapter to write"
        )
    chosen = choose(study, given.strategy, given.seed)
    config = ConfigDict(study.info["config"])
    one = layout(devices=jax.local_devices()[:1])
    base, classes = load_base(config, one), tuple(study.info["classes"])
    task = make_task(config.task, classes, **written_by(base, config))
    outputs = task.outputs(len(classes))
    problem = Problem(base, task, outputs, classes, None, None, config, one)
    strategy = make_strategy(chosen.strategy, config)
    plan = plain(last_plan(problem, strategy, jax.random.key(chosen.seed)))
    known = base_params(problem, strategy)
    plan = store.load_model(chosen.folder, plan, known, base.source)
    try:
        peft.write(given.output, plan, base)
    except ValueError as error:
        raise ValueError(
            f"{chosen.strategy} is no adapter of PEFT's: {error}"
        ) from None
    return chosen


if __name__ == "__main__":
    sys.exit(main())
