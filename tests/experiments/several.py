"""Studies as commands of their own: one process, or two that form one run."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
STOPPED = 75
TINY = "--config.optimiser.name=sgd", "--config.batch_size=8"


def command(*flags, program=("-m", "experiments.main")):
    """A started command, in a group of its own as a terminal gives it."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, flags)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def start(source, workdir, *more, **options):
    """A study of a tiny BERT; `source` holds `model` and `rows.csv`."""
    config = f"--config={ROOT}/tests/experiments/tiny.py:{source}"
    return command(config, f"--workdir={workdir}", *TINY, *more, **options)


def pair(begin, *args, **options):
    """Two processes of one run, on a free port; `begin` starts one."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = f"--coordinator=localhost:{port}", "--processes=2"
    return [begin(*args, *common, f"--process={i}", **options) for i in range(2)]


def ended(*processes, code=0):
    """Outputs of processes that must end so."""
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == code, output
    return outputs


def records(workdir, strategy="two_phases"):
    """The lines of its first seed."""
    file = workdir / strategy / "0" / "records.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def same(workdir, other, strategy="two_phases"):
    """All losses of two runs within 1e-5."""
    first, second = records(workdir, strategy), records(other, strategy)
    assert [r["step"] for r in first] == [r["step"] for r in second]
    for a, b in zip(first, second, strict=True):
        assert a["split"] == b["split"]
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


def until(file, text, process):
    """Wait until a file holds a text."""
    limit = time.monotonic() + 120
    while not (file.is_file() and text in file.read_text()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.02)
