"""Benchmarks: workers that answer or fail, whole runs, the rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import client, measure, products
from experiments.benchmarks.client import Worker, WorkerError
from experiments.benchmarks.kinds import Row, Side
from experiments.benchmarks.measure import Settings
from experiments.benchmarks.rows import ROWS

ROOT = Path(__file__).parents[2]
QUICK = Settings(2, 4, warm=2, keep_disturbed=True, least=0.0, timeout=60)


def fake(name, function, **options):
    more = {k: options.pop(k) for k in ("needs", "compiler") if k in options}
    return Side(name, f"fake_sides:{function}", options, allocator="system", **more)


def sleeps(*peers):
    ours = fake("ours", "sleeper", seconds=0.001, flops=2e6)
    return Row("fake", "Fake", "Sleeps.", (ours,), peers, examples=5)


def worker(side, tmp_path, **more):
    return Worker(side, tmp_path / "cache", tmp_path / "log.txt", **more)


def test_a_worker_answers(tmp_path):
    with worker(fake("s", "sleeper", seconds=0.01, flops=3.0), tmp_path) as side:
        warm = side.ask("warm", calls=2)
        assert warm["first"] >= warm["seconds"] >= 0.01
        assert side.ask("time", repeats=3)["seconds"] >= 0.01
        memory, info = side.ask("rss"), side.ask("info")
    assert memory["peak_mb"] >= memory["timed_mb"] > 1
    assert (info["flops"], info["compile_seconds"]) == (3.0, 0.5)
    assert info["facts"] == {"sleeps": 0.01}
    assert side.process.returncode == 0
    assert "a word on stdout" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    "function, words",
    [
        ("failing", "ValueError: no such weights"),
        ("dying", r"died during 'warm' \(exit code 3\); last words: out of something"),
        ("killed", r"died during 'warm' \(SIGKILL, often for want of memory\)"),
        ("absent", "AttributeError: .*absent"),
    ],
)
def test_a_worker_that_fails_says_how(tmp_path, function, words):
    raises = pytest.raises(WorkerError, match=f"^side: .*{words}")
    with worker(fake("side", function), tmp_path) as side, raises:
        side.ask("warm")


def test_a_worker_that_says_nothing_is_given_up(tmp_path):
    slow = fake("slow", "sleeper", seconds=60)
    raises = pytest.raises(WorkerError, match="no answer to 'time' within 0.5 s")
    with worker(slow, tmp_path, timeout=0.5) as side, raises:
        side.ask("time")
    assert side.process.returncode is not None


def test_what_is_not_installed_is_named(monkeypatch):
    peer = fake("p", "sleeper", needs=("json", "no_such_module"))
    said = client.missing(peer)
    assert "no_such_module not installed" in said
    assert "pip install -e '.[parity]'" in said
    assert "json" not in said
    compiled = fake("c", "sleeper", compiler=True)
    monkeypatch.setattr(client, "compiler", lambda: None)
    assert "install g++" in client.missing(compiled)
    monkeypatch.setattr(client, "compiler", lambda: "/usr/bin/g++")
    assert client.missing(compiled) is None


@pytest.fixture
def no_products(monkeypatch):
    monkeypatch.setattr(products, "sides", lambda row: [])


def run(monkeypatch, row, out, *more):
    """The whole command on one row."""
    monkeypatch.setattr(command, "ROWS", {row.name: row})
    monkeypatch.setattr(
        command, "measure", lambda row, given, logs: measure.measure(row, QUICK, logs)
    )
    return command.main(["--rows", row.name, "--out", str(out), *more])


def test_a_whole_run(monkeypatch, tmp_path, capsys, no_products):
    row = sleeps(
        fake("slower", "sleeper", seconds=0.003),
        fake("absent", "sleeper", needs=("no_such_module",)),
    )
    assert run(monkeypatch, row, tmp_path) == 0
    said = capsys.readouterr()
    assert (tmp_path / "table.md").read_text().strip() in said.out
    assert "pip install -e '.[parity]'" in said.out
    assert "fake: round 2 of 2" in said.err
    (found,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    ours, slower, absent = found["sides"]
    assert found["kept"] == 2
    assert [set(r) for r in found["rounds"]] == [{"ours", "slower", "disturbed"}] * 2
    assert slower["ratio"]["ours"] == "ours"
    assert slower["ratio"]["count"] == 2
    assert (ours["compile_cold"], ours["compile_warm"]) == (0.5, 0.5)
    assert ours["gflops"] > 0
    assert "no_such_module" in absent["missing"]
    page = (tmp_path / "pages" / "fake.md").read_text()
    for words in ("# Fake", "Sleeps.", "## What was tried", "## Every round", "GiB"):
        assert words in page
    assert (tmp_path / "logs" / "fake" / "slower.txt").is_file()


def test_rows_of_earlier_runs_stay(monkeypatch, tmp_path, capsys, no_products):
    for name in ("one", "two"):
        assert run(monkeypatch, sleeps()._replace(name=name), tmp_path) == 0
    kept = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["name"] for row in kept} == {"one", "two"}
    (tmp_path / "results.json").write_text("{")
    assert run(monkeypatch, sleeps(), tmp_path) == 2
    assert "results.json is damaged" in capsys.readouterr().err


def test_a_side_that_dies_leaves_the_others(monkeypatch, tmp_path, capsys, no_products):
    row = sleeps(
        fake("dead", "dying"),
        fake("dead later", "dying_later", calls=3),
        fake("fine", "sleeper", seconds=0.002),
    )
    once = Settings(3, 3, warm=2, keep_disturbed=True, least=0.0, timeout=60)
    monkeypatch.setitem(globals(), "QUICK", once)
    assert run(monkeypatch, row, tmp_path) == 1
    (found,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    ours, dead, later, fine = found["sides"]
    assert "died during 'warm' (exit code 3)" in dead["failed"]
    assert "died during" in later["failed"]
    assert fine["ratio"]["count"] == ours["seconds"]["count"] == 3
    assert "failed: dead: its process died" in capsys.readouterr().out


def test_an_unknown_row_is_refused_with_the_nearest(capsys):
    assert command.main(["--rows", "lora,resnet_ful"]) == 2
    said = capsys.readouterr().err
    assert "--rows 'resnet_ful' matches nothing; nearest: resnet_full" in said


def test_help_and_list_name_every_row(capsys):
    assert command.main(["--list"]) == 0
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    helped = capsys.readouterr().out
    for name, row in ROWS.items():
        assert name in listed
        assert row.title in helped
    with pytest.raises(SystemExit, match="2"):
        command.main(["--rounds", "0"])


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_rows_are_whole(row):
    sides = (*row.ours, *row.peers)
    assert len({side.name for side in sides}) == len(sides)
    for side in sides:
        module, _, function = side.build.partition(":")
        made = getattr(sys.modules[module], function)
        names = made.__code__.co_varnames[: made.__code__.co_argcount]
        assert set(side.options) <= set(names)
        assert not side.against or side.against in [ours.name for ours in row.ours]
        assert side.framework != "torch" or "torch" in side.needs


def test_rows_load_neither_jax_nor_torch():
    """A worker loads what its own side needs; so a peer's memory is its own."""
    code = "import sys, experiments.benchmarks.rows, experiments.benchmarks.worker\n"
    code += "print(*sys.modules)"
    args = dict(check=True, capture_output=True, text=True, cwd=ROOT)
    out = subprocess.run([sys.executable, "-c", code], **args).stdout.split()
    assert not {"jax", "torch", "transformers", "peft", "sklearn"} & set(out)


def test_products_are_measured_in_the_precisions_of_a_row(monkeypatch):
    sides = products.sides(ROWS["lora"])
    assert [side.framework for side in sides] == ["jax", "torch"]
    assert sides[0].options["dtypes"] == ["bfloat16", "float32"]
    monkeypatch.setattr(products, "LEAST", 0.0)
    rates = products.with_jax([(8, 8, 8)], ["float32"]).facts()
    assert rates["8x8x8 float32"] > 0


def test_a_step_of_ours_knows_its_flops_and_its_parameters():
    from experiments.benchmarks import images
    from tl_jax.models import conv4

    model = conv4(size=16, filters=8, classes=images.CLASSES)
    ready = images.our_step(model, 4, 16, probe=True)
    ready.call()
    ready.call()
    facts = ready.facts()
    assert ready.flops > 0
    assert ready.compile_seconds > 0
    assert facts["trainable"] < facts["parameters"]
    assert facts["loss of the first step"] > 0
