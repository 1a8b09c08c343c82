"""Commands in processes of their own, to be killed; what must be equal at the end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def start(flags: list[str], **options) -> subprocess.Popen:
    """A study's command, begun."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-m", "experiments.main", *flags]
    return subprocess.Popen(command, cwd=ROOT, **pipes, **options)


def finish(flags: list[str]) -> str:
    """A study's command to its good end; what it printed."""
    run = start(flags)
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    return output


def ends(folder: Path) -> tuple:
    """Of a run, what must be equal bit by bit: weights, predictions, records."""
    with np.load(folder / "predictions.npz") as arrays:
        predicted = {name: arrays[name].tobytes() for name in arrays.files}
    result = json.loads((folder / "result.json").read_text())
    return (
        (folder / "model.safetensors").read_bytes(),
        predicted,
        (folder / "records.jsonl").read_bytes(),
        result["test"],
        result["best_step"],
    )


def same_ends(folder: Path, other: Path) -> None:
    """Equal ends, of all players."""
    assert ends(folder) == ends(other)
    files = sorted(p.name for p in other.glob("*.safetensors"))
    assert sorted(p.name for p in folder.glob("*.safetensors")) == files
    for name in files:
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def wait_for(path: Path, lines: int, run: subprocess.Popen) -> bool:
    """Until a file has so many lines; False if the run ended first."""
    return wait_until(
        lambda: path.is_file() and path.read_bytes().count(b"\n") >= lines, run
    )


def wait_until(condition: Callable[[], object], run: subprocess.Popen) -> bool:
    """Until the condition holds; False if the run ended first."""
    while run.poll() is None:
        if condition():
            return True
        time.sleep(0.005)
    return False


def sound(folder: Path) -> list[Path]:
    """Whole checkpoints of a run, the oldest first."""
    found = (folder / "checkpoints").glob("step_*")
    whole = [path for path in found if path.name[5:].isdigit()]
    return sorted(whole, key=lambda path: int(path.name[5:]))
