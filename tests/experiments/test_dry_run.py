"""What a dry run says against arithmetic, and against the batches of real studies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny_study import small, write

from experiments.dry_run import abstract_batch
from experiments.held_out import split
from experiments.problem import make_problem
from experiments.tasks import TASKS

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


@pytest.mark.parametrize("task", TASKS)
def test_the_batch_is_that_of_a_real_study(task, tiny_model, tmp_path):
    source = write(tmp_path, task, SUFFIX.get(task, ".jsonl"))
    config = small(tiny_model, source, "full", task=task)
    problem = make_problem(config)
    rows = split(problem.examples, config, 0)["train"]
    real = problem.training(rows, 0).chunk(0, 1)
    classes = len(problem.classes)
    shapes = abstract_batch(config, problem.base, problem.task, classes)
    assert jax.tree.structure(shapes) == jax.tree.structure(real)
    for one, other in zip(jax.tree.leaves(shapes), jax.tree.leaves(real), strict=True):
        assert one.shape == other.shape
        assert one.dtype == jax.dtypes.canonicalize_dtype(np.asarray(other).dtype)
