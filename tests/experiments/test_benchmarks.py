"""Benchmarks: statistics by hand, disturbed rounds, workers that fail, a whole run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import client, load, measure, products, stats, tables
from experiments.benchmarks.client import Worker, WorkerError
from experiments.benchmarks.kinds import Row, Side
from experiments.benchmarks.measure import Settings
from experiments.benchmarks.rows import ROWS
from experiments.benchmarks.stats import Timing

ROOT = Path(__file__).parents[2]
QUICK = Settings(2, 4, warm=2, keep_disturbed=True, least=0.0, timeout=60)


def fake(name, function, **options):
    more = {k: options.pop(k) for k in ("needs", "compiler") if k in options}
    return Side(name, f"fake_sides:{function}", options, allocator="system", **more)


def sleeps(*peers):
    ours = fake("ours", "sleeper", seconds=0.001, flops=2e6)
    return Row("fake", "Fake", "Sleeps.", (ours,), peers, examples=5)


def rounds(*seconds, foreign=0.0):
    """Rounds of sides a and b."""
    return [{"a": Timing(a, 0.0), "b": Timing(b, foreign)} for a, b in seconds]


def test_a_spread_is_the_median_and_linear_quartiles():
    assert stats.spread([4.0, 1.0, 3.0, 2.0]) == (2.5, 1.75, 3.25, 4)
    assert stats.spread([7.0]) == (7.0, 7.0, 7.0, 1)
    assert stats.spread([]) is None


def test_ratios_are_taken_within_rounds():
    """Ratios 2, 1 and 3; the ratio of medians would be 1."""
    found = stats.ratio(rounds((1, 2), (2, 2), (4, 12)), "a", "b")
    assert found == (2.0, 1.5, 2.5, 3)
    assert stats.ratio([], "a", "b") is None


def test_a_round_is_disturbed_by_any_of_its_timings():
    calm, loud = rounds((1, 2), foreign=0.25), rounds((1, 3), foreign=0.26)
    assert stats.kept(calm + loud) == calm
    assert stats.kept(loud) == []
    assert stats.kept(loud, limit=0.5) == loud


def test_what_others_used_is_the_rest_of_the_busy_time():
    before = load.Sample(wall=10.0, busy=100.0, own=5.0)
    after = load.Sample(wall=12.0, busy=104.0, own=8.0)
    assert load.foreign(before, after) == pytest.approx((4 - 3 - load.TICKS) / 2)
    assert load.foreign(before, after._replace(own=9.5)) == 0.0


def test_own_time_counts_as_own():
    """The clocks of a process that spins alone see it."""
    spin = "import time\nend = time.process_time() + 0.3\n"
    spin += "while time.process_time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", spin], stdin=-1) as process:
        first = load.sample(process.pid)
        last = first
        while last.own < 0.25 and last.wall < first.wall + 60:
            last = load.sample(process.pid)
        process.communicate(b"\n")
    assert last.own >= 0.25
    assert last.busy - first.busy >= last.own - first.own - 0.05


def scripted(monkeypatch, foreign):
    """`_rounds` of two sides whose timings meet these loads in turn."""
    left = iter(foreign)
    monkeypatch.setattr(measure, "timed", lambda *_: Timing(1.0, next(left)))
    settings = Settings(rounds=2, attempts=4)
    row = Row("fake", "Fake", "", ())
    sides = dict.fromkeys("ab")
    return measure._rounds(sides, dict(a=1, b=1), {}, settings, row, lambda _: None)


def test_disturbed_rounds_are_repeated_until_enough_are_good(monkeypatch):
    found = scripted(monkeypatch, [0, 0, 0, 0.9, 0.9, 0, 0, 0])
    assert [stats.disturbed(r) for r in found] == [False, True, True, False]


def test_attempts_come_to_an_end(monkeypatch):
    found = scripted(monkeypatch, [1.0] * 8)
    assert len(found) == 4
    assert stats.kept(found) == []


def summarised(foreign=0.0, **settings):
    ours = Side("a", "m:f", framework="jax")
    peer = Side("b", "m:f", framework="torch")
    row = Row("r", "R", "w", (ours,), (peer,), examples=4)
    lines = {s.name: measure._line(s, row) for s in (ours, peer)}
    lines["a"]["flops"] = 8e9
    rates = {
        "jax": {"2048x2048x2048 float32": 16.0, "2048x2048x2048 bfloat16": 99.0},
        "torch": {"2048x2048x2048 float32": 5.0, "8x8x8 float32": 8.0},
    }
    given = rounds((1, 2), (1, 4), (1, 2), foreign=foreign)
    result = measure.summarise(row, lines, given, rates, Settings(**settings))
    context = {"machine": "m", "date": "d", "versions": {}}
    return result | {"measured": context}


def test_a_summary_has_rates_shares_and_ratios():
    result = summarised()
    a, b = result["sides"]
    assert (result["kept"], result["thrown"]) == (3, 0)
    assert (a["gflops"], b["gflops"]) == (8.0, 4.0)
    assert (a["share"], b["share"]) == (0.5, 0.5)
    assert a.get("ratio") is None
    assert b["ratio"] == dict(median=2.0, low=2.0, high=3.0, count=3, ours="a")


def test_a_summary_of_disturbed_rounds_has_no_figures():
    result = summarised(foreign=1.0)
    assert (result["kept"], result["thrown"]) == (0, 3)
    assert all(side["seconds"] is None for side in result["sides"])
    assert "every round was disturbed" in tables.table([result])
    kept = summarised(foreign=1.0, keep_disturbed=True)
    assert (kept["kept"], kept["thrown"]) == (3, 0)


def test_a_table_has_a_line_a_side():
    lines = tables.table([summarised()]).splitlines()
    assert lines[2].startswith("| R | **a** | 1 s [1 s, 1 s] | – | 4 | 8 | 50 %")
    assert "| R | b | 2 s [2 s, 3 s] | 2.00x [2.00x, 3.00x] | 2 | 4 | 50 %" in lines[3]
    assert len({line.count("|") for line in lines[:4]}) == 1


def test_durations_have_fitting_units():
    found = [tables.duration(s) for s in (2.5, 0.0123, 4.5e-6)]
    assert found == ["2.5 s", "12.3 ms", "4.5 µs"]


def test_a_peer_meets_our_side_of_its_precision():
    ours = [Side("a", ""), Side("b", "", dtype="bfloat16")]
    match = measure._counterpart
    assert match({"dtype": "bfloat16", "against": ""}, ours) == "b"
    assert match({"dtype": "float16", "against": ""}, ours) == "a"
    assert match({"dtype": "float32", "against": "b"}, ours) == "b"
    assert match({"dtype": "float32", "against": ""}, []) is None


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
