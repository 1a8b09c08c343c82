"""Two processes of one run: what they compute, and every way in which one ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from several import ROOT, STOPPED, ended, pair, same, start, until

from experiments import main

FIRST = "two_phases/0"
AGAIN = "Start all processes again"


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """Undisturbed runs: on one device, and of two processes."""
    folder = tmp_path_factory.mktemp("whole")
    ended(start(source, folder / "one"))
    ended(*pair(start, source, folder / "two"))
    return folder


def resumed(source, workdir, whole):
    """The same command again ends with the bits of an undisturbed run."""
    ended(*pair(start, source, workdir))
    for name in ("records.jsonl", "model.safetensors"):
        found, undisturbed = (f / FIRST / name for f in (workdir, whole / "two"))
        assert found.read_bytes() == undisturbed.read_bytes()


def test_two_processes_do_what_one_does(whole):
    same(whole / "one", whole / "two")


def test_two_processes_share_products(source, whole, tmp_path):
    axes = "--config.mesh.axes=model=2"
    ended(*pair(start, source, tmp_path, axes))
    same(whole / "one", tmp_path)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_run_and_a_restart_resumes_it(
    killed, source, whole, tmp_path
):
    both = pair(start, source, tmp_path)
    until(tmp_path / FIRST / "records.jsonl", '"step": 6', both[0])
    both[killed].kill()
    output, _ = both[1 - killed].communicate(timeout=90)
    both[killed].communicate(timeout=10)
    assert both[1 - killed].returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert last.startswith("error:"), output
    assert AGAIN in last
    resumed(source, tmp_path, whole)


def stopped(both, number, told, workdir):
    """Signal the groups of some of them; all must end with the code of that."""
    until(workdir / FIRST / "records.jsonl", '"step": 2', both[0])
    for i in told:
        os.killpg(both[i].pid, number)
    for output in ended(*both, code=STOPPED):
        assert "the same command goes on" in output.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_to_groups_stop_both_after_saving(number, source, whole, tmp_path):
    stopped(pair(start, source, tmp_path), number, (0, 1), tmp_path)
    resumed(source, tmp_path, whole)


def test_a_signal_to_one_stops_both_and_none_leaves_before_the_other(source, tmp_path):
    program = (f"{ROOT}/tests/experiments/lingering.py", "1")
    both = pair(start, source, tmp_path, program=program)
    stopped(both, signal.SIGTERM, (1,), tmp_path)


@pytest.mark.parametrize("raising", [0, 1])
def test_a_bug_in_one_process_ends_both_soon(raising, source, tmp_path):
    program = (f"{ROOT}/tests/experiments/raising.py", str(raising))
    both = pair(start, source, tmp_path, program=program)
    began = time.monotonic()
    broken, other = both[raising], both[1 - raising]
    output, _ = broken.communicate(timeout=90)
    assert broken.returncode == 1
    assert "ZeroDivisionError: a bug" in output
    output, _ = other.communicate(timeout=60)
    assert other.returncode == 1, output
    assert AGAIN in output.strip().splitlines()[-1], output
    assert time.monotonic() - began < 90


def test_two_processes_try_rates_together(source, tmp_path):
    program = ("-m", "experiments.tune", "--factors=1")
    first, second = ended(*pair(start, source, tmp_path, program=program))
    assert '"rate": 0.01, "trials": ((0.01, ' in first
    assert "trials" not in second
    assert (tmp_path / "tune.json").is_file()
    assert (tmp_path / "two_phases" / "0.01" / "0" / "result.json").is_file()


def test_the_same_error_in_both_is_told_by_both(source, tmp_path):
    rows = "--config.data.source=/nowhere/rows.csv"
    for output in ended(*pair(start, source, tmp_path, rows), code=2):
        assert "there is no file or folder" in output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("work", "code", "words"),
    [
        ("os._exit(75)", 75, ""),
        ("os.kill(os.getpid(), 9)", 137, "signal 9 (SIGKILL: out of memory?)"),
        ("os.kill(os.getpid(), 11)", 139, "killed by signal 11 (SIGSEGV)"),
        ("os.abort()", 134, "killed by signal 6 (SIGABRT)"),
        (
            "os.write(2, b'F: distributed service: an error\\n');os.abort()",
            1,
            "another process of this run went away",
        ),
    ],
)
def test_a_parent_says_how_its_child_ended(work, code, words):
    lines = (
        "import os, sys",
        "from experiments.supervise import join_parent, supervise, supervised",
        "if not supervised(): sys.exit(supervise(1))",
        "join_parent()",
        "print('working', file=sys.stderr)",
        work,
    )
    line = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    first, *_, last = ["", *done.stderr.splitlines()][1:] * 2
    assert first == "working"
    assert words in last
    assert (AGAIN in last) == bool(words)


def test_a_signal_and_its_echo_are_one_and_a_later_one_ends_at_once(monkeypatch):
    with main.asked_to_stop() as event:
        assert isinstance(event, threading.Event)
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert event.is_set()
        monkeypatch.setattr(main, "ECHO", -1.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
