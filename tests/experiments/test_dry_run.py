"""What a dry run says against arithmetic, and against the batches of real studies."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console
from tiny_episodes import MAML, PROTOTYPICAL, pictures, sines, write_classes
from tiny_study import small, write

from experiments.abstract_batches import abstract_batch
from experiments.algorithms import SUPERVISED
from experiments.dry_run import dry_run
from experiments.problem import make_problem
from experiments.strategies import make_strategy
from experiments.tasks import EPISODIC, TASKS, TEXTS

ROOT = Path(__file__).parents[2]
SUFFIX = {"regression": ".tsv", "classification": ".csv"}
BODY, SPREAD = 5856, 5472
"""Parameters of the tiny BERT without head: 86 embeddings of 16 and 2 blocks of 2,048
in kernels are spread, 384 biases and scales are not."""
HEAD = 16 * 5 + 5
DEVICES, ROWS = 8, 2
STEP = 4 + 4 + 8
"""Bytes of the step, Adam's count and the key."""
TOKENS = 16 * (4 + 1)
"""Bytes of a row's tokens and mask."""
BATCH = ROWS * (TOKENS + 4 + 4)
"""With a label and a weight; nobody reads the index."""


@pytest.fixture(scope="module")
def found(tiny_model):
    script = Path(__file__).with_name("dry_needs.py")
    cache = Path(os.environ.get("TL_JAX_CACHE", Path.home() / ".cache" / "tl_jax"))
    environ = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache / "xla-tests"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    line = [sys.executable, str(script), str(tiny_model)]
    done = subprocess.run(
        line, capture_output=True, text=True, env=environ, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_arguments_where_all_is_on_every_device(found):
    weights = 4 * (BODY + HEAD)
    assert found["data"] == {
        "full": 3 * weights + STEP + BATCH,  # weights and two moments
        "averaged": 4 * weights + STEP + BATCH,
        "head": 4 * BODY + 3 * 4 * HEAD + STEP + BATCH,  # no moments of the frozen
    }


def test_arguments_where_kernels_are_spread(found):
    body = SPREAD // DEVICES + BODY - SPREAD
    assert found["fsdp"] == {
        "full": 3 * 4 * (body + HEAD) + STEP + BATCH,
        "averaged": 4 * 4 * (body + HEAD) + STEP + BATCH,
        "head": 4 * body + 3 * 4 * HEAD + STEP + BATCH,
    }


@pytest.mark.parametrize(
    ("task", "head", "row"),
    [
        ("regression", 16 + 1, TOKENS + 4 + 4),
        ("multilabel", HEAD, TOKENS + 4 * 5 + 4),
        ("tokens", HEAD, TOKENS + 4 * 16 + 4),
        ("span", 2 * 17, TOKENS + 4 * 16 + 4 * 2 + 4),  # with types, two labels
    ],
)
def test_heads_and_labels_of_each_task(task, head, row, found):
    assert found[task]["full"] == 3 * 4 * (BODY + head) + STEP + ROWS * row


def test_nothing_large_is_allocated(found):
    assert found["live"] < 1e6
    assert found["resident"] < 2e9  # the weights and moments would be 12e9


ROWS_OF = [task for task in TASKS if task not in (*EPISODIC, *TEXTS)]
"""Those whose rows a BERT reads; `test_seq2seq` and `test_causal_runs` have theirs."""


@pytest.mark.parametrize("task", ROWS_OF)
def test_the_batch_is_that_of_a_real_study(task, tiny_model, tmp_path):
    source = write(tmp_path, task, SUFFIX.get(task, ".jsonl"))
    config = small(tiny_model, source, "full", task=task)
    problem = make_problem(config)
    real = problem.batches(problem.split(0)["train"], 0, SUPERVISED)(0, 1)
    classes = len(problem.classes)
    shapes = abstract_batch(config, problem.base, problem.task, classes, SUPERVISED)
    same_shapes(shapes, real)


def same_shapes(shapes, real):
    assert jax.tree.structure(shapes) == jax.tree.structure(real)
    for one, other in zip(jax.tree.leaves(shapes), jax.tree.leaves(real), strict=True):
        assert one.shape == other.shape
        assert one.dtype == jax.dtypes.canonicalize_dtype(np.asarray(other).dtype)


def few_shot_shapes(config, name, classes=10):
    """(Shapes of a dry run, a batch of the study itself)."""
    problem, recipe = make_problem(config), make_strategy(name, config).phases[0].recipe
    own = problem.of(make_strategy(name, config))
    real = own.batches(own.split(0)["train"], 0, recipe)(0, 1)
    if own.draw is not None and "task" in real:
        numbers = jax.tree.map(lambda leaf: leaf[0], real["task"])
        drawn = own.draw(own.held, numbers)
        real = jax.tree.map(lambda leaf: leaf[None], drawn)
    return abstract_batch(config, own.base, own.task, classes, recipe), real


@pytest.mark.parametrize("sampler", ["device", "host"])
def test_episodes_are_those_of_a_real_study(sampler, tmp_path):
    named = dict(episodes=PROTOTYPICAL, rows=PROTOTYPICAL | {"train": "classes"})
    config = pictures(write_classes(tmp_path), **named)
    config.episodes.sampler, config.episodes.train_queries = sampler, 3
    for name in named:
        same_shapes(*few_shot_shapes(config, name))


def test_generated_episodes_are_those_of_a_real_study():
    same_shapes(*few_shot_shapes(sines("maml"), "maml"))


def test_a_dry_run_of_every_kind_of_few_shot_phase(golden, tmp_path):
    """Real weights whose features are computed once, episodes, rows; no data."""
    written = Console(file=io.StringIO())
    (needs,) = dry_run(sines("meta_sgd"), written)
    assert needs.total == 8 + 8 + 8 * 8 + 8 + 8 + 1
    config = pictures(tmp_path, proto=PROTOTYPICAL, maml=MAML)
    found = dry_run(config, written)
    assert [needs.total for needs in found] == [588, 588 + 4 * 2 + 2]
    assert all(needs.products > 0 for needs in found)
    config = pictures(tmp_path, frozen={"learner": MAML["learner"], "frozen": True})
    config.strategies.frozen.rate = 1e-3
    config.model.spec, config.model.filters = str(golden / "vision/resnet_basic"), 0
    (needs,) = dry_run(config, written)
    width = needs.total // 2 - 1
    assert needs.total == 2 * width + 2
    assert needs.products > 0
