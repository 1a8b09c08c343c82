"""Runs that are killed, stopped or starved go on as if nothing had happened."""

import os
import random
import re
import shutil
import signal
import time

import numpy as np
import pytest
from interrupted import ROOT, ends, finish, sound, start, wait_for

KILLS = int(os.environ.get("TL_JAX_KILLS", "2"))
"""Runs that are killed at a random record each; set it to be more certain."""
STOPPED = 75
RUN = "two_phases/0"


WORDS = (("red", "blue", "green"), ("one", "two", "six"), ("sun", "sea", "sky"))


@pytest.fixture(scope="module")
def source(golden, tmp_path_factory):
    """A tiny model with a vocabulary, and ninety texts of three classes."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(golden / "bert" / "bert_model", folder / "model")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(40))]
    vocabulary += [word for kind in WORDS for word in kind]
    (folder / "model" / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    rng = np.random.default_rng(0)
    rows = ["text,label"]
    for i in range(90):
        chosen = rng.choice(WORDS[i % 3], 2 + i % 9)
        rows.append(f"{' '.join(chosen)} {i},{'abc'[i % 3]}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    return folder


def flags(source, workdir, *more):
    config = f"{ROOT}/tests/experiments/tiny.py:{source}"
    return ["--config", config, "--workdir", str(workdir), *more]


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The ends of a run that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("whole")
    finish(flags(source, workdir))
    return ends(workdir / RUN)


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_run_ends_bit_identically(kill, source, whole, tmp_path):
    chance = random.Random(kill)
    # Two lives are cut short: one in each half of the fifteen steps.
    for low, high in ((1, 7), (8, 14)):
        run = start(flags(source, tmp_path))
        timings = tmp_path / RUN / "timings.jsonl"
        wait_for(timings, chance.randint(low, high), run)
        time.sleep(chance.random() * 0.1)
        run.send_signal(signal.SIGKILL)
        run.communicate()
    finish(flags(source, tmp_path))
    assert ends(tmp_path / RUN) == whole


def test_sigterm_saves_and_says_so(source, whole, tmp_path):
    run = start(flags(source, tmp_path))
    wait_for(tmp_path / RUN / "timings.jsonl", 4, run)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == STOPPED, output
    assert "the same command goes on" in output
    finish(flags(source, tmp_path))
    assert ends(tmp_path / RUN) == whole


def test_a_damaged_checkpoint_is_named_and_passed_over(source, whole, tmp_path):
    run = start(flags(source, tmp_path))
    wait_for(tmp_path / RUN / "timings.jsonl", 11, run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    found = sound(tmp_path / RUN)
    files = [f for f in found[-1].rglob("*") if f.is_file() and f.stat().st_size > 50]
    largest = max(files, key=lambda f: f.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    output = finish(flags(source, tmp_path))
    assert found[-1].name in output
    assert ends(tmp_path / RUN) == whole


def test_a_loss_that_is_no_number_ends_the_run(source, tmp_path):
    run = start(flags(source, tmp_path, "--config.strategies.two_phases.rate=1e38"))
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1, output
    assert re.search(r"the loss is (nan|inf) at step \d+; rows of that batch", output)
    assert "last good checkpoint: " in output
    assert "Traceback" not in output
