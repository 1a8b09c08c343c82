"""Benchmarks: paired statistics by hand, disturbed rounds, summaries and tables."""

import subprocess
import sys

import pytest

from experiments.benchmarks import load, measure, stats, tables
from experiments.benchmarks.kinds import Row, Side
from experiments.benchmarks.measure import Settings
from experiments.benchmarks.stats import Timing


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
