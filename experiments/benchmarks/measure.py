"""One row, measured: workers warmed up, rounds interleaved, what was disturbed gone."""

import datetime
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from experiments.benchmarks import products, stats
from experiments.benchmarks.accelerator import Device
from experiments.benchmarks.client import TIMEOUT, Worker, WorkerError, missing
from experiments.benchmarks.kinds import Row, Side
from experiments.benchmarks.load import foreign, sample

LEAST = 0.5
"""Seconds of one timing at least, so that clocks of 10 ms can tell who ran."""


class Settings(NamedTuple):
    """How carefully to measure."""

    rounds: int = 7
    """Undisturbed rounds that are wanted."""
    attempts: int = 21
    """Rounds at most."""
    warm: int = 3
    """Untimed calls before them."""
    keep_disturbed: bool = False
    least: float = LEAST
    timeout: float = TIMEOUT
    device: Device = "cpu"


COPIED = ("name", "title", "work", "examples", "product")
"""What a result takes from its row as it is."""
Say = Callable[[str], None]
Result = dict[str, Any]
"""Of a row: plain data, as `results.json` holds it."""


def to_stderr(text: str) -> None:
    """Progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def measure(row: Row, settings: Settings, logs: Path, say: Say = to_stderr) -> Result:
    """Everything about one row. A side that fails says why, the others go on."""
    lines = {side.name: _line(side, row) for side in (*row.ours, *row.peers)}
    wanted = [s for s in (*row.ours, *row.peers) if not lines[s.name]["missing"]]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        place = _Place(Path(scratch), logs / row.name, settings)
        with ExitStack() as opened:
            workers, repeats = _start(wanted, lines, place, opened, row, say)
            rounds = _rounds(workers, repeats, lines, settings, row, say)
            _ask_rest(workers, lines)
        say(f"{row.name}: compiling again from the caches, matrix products")
        for side in wanted:
            if lines[side.name]["compile_cold"] is not None:
                lines[side.name]["compile_warm"] = _again(side, lines, place)
        rates = _rates(row, place, say)
    found = summarise(row, lines, rounds, rates, settings)
    return found | {"measured": context(found["sides"])}


def context(sides: Sequence[Result]) -> Result:
    """Machine, date, and the versions that the workers found."""
    found = {side.get("gpu") for side in sides} - {"", None}
    where = "".join(f"{name}, " for name in sorted(found)) + machine()
    found = {name: v for side in sides for name, v in side["versions"].items()}
    today = datetime.date.today().isoformat()
    python = {"python": platform.python_version()}
    return {"machine": where, "date": today, "versions": found | python}


def machine() -> str:
    """The processor and how many cores may be used."""
    name, about = platform.machine(), Path("/proc/cpuinfo")
    if about.is_file():
        named = [
            n for n in about.read_text().splitlines() if n.startswith("model name")
        ]
        name = named[0].partition(":")[2].strip() if named else name
    cores = psutil.Process().cpu_affinity() if hasattr(os, "sched_getaffinity") else ()
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(cores) or os.cpu_count()} cores of {name}, {memory:.0f} GiB"


class _Place(NamedTuple):
    scratch: Path
    logs: Path
    settings: Settings

    def open(self, side: Side, log: str = "") -> Worker:
        """A worker with the side's own cache of programs."""
        name = "".join(c if c.isalnum() else "-" for c in side.name)
        cache, file = self.scratch / name, self.logs / f"{name}{log}.txt"
        settings = self.settings
        return Worker(side, cache, file, settings.timeout, settings.device)


def _line(side: Side, row: Row) -> Result:
    """What is known of a side before it runs."""
    return {
        "name": side.name,
        "ours": side in row.ours,
        "framework": side.framework,
        "dtype": side.dtype,
        "allocator": side.allocator,
        "environment": dict(side.env),
        "against": side.against,
        "missing": missing(side),
        "failed": None,
        "compile_cold": None,
        "compile_warm": None,
        "facts": {},
        "versions": {},
    }


def _start(wanted, lines, place, opened, row, say) -> tuple[dict[str, Worker], dict]:
    """Workers that are warm, and how many calls make one timing of each."""
    workers, repeats = {}, {}
    for side in wanted:
        say(f"{row.name}: warming up {side.name}")
        worker = opened.enter_context(place.open(side))
        try:
            taken = worker.ask("warm", calls=place.settings.warm)["seconds"]
        except WorkerError as error:
            _fail(lines[side.name], error, worker, say)
            continue
        workers[side.name] = worker
        count = math.ceil(place.settings.least / max(taken, 1e-6))
        repeats[side.name] = max(count, 1)
    return workers, repeats


def _fail(line: Result, error: Exception, worker: Worker, say: Say) -> None:
    line["failed"] = str(error)
    worker.close()
    say(f"error: {error}")


def _rounds(workers, repeats, lines, settings, row, say) -> list[stats.Round]:
    """A B A B until enough rounds were left alone, or the attempts are up."""
    rounds: list[stats.Round] = []
    while workers and len(rounds) < settings.attempts:
        done = len(_kept(rounds, settings))
        if done >= settings.rounds:
            break
        thrown = len(rounds) - done
        say(f"{row.name}: round {done + 1} of {settings.rounds}, {thrown} thrown away")
        timings = {}
        for name, worker in list(workers.items()):
            try:
                timings[name] = timed(worker, repeats[name])
            except WorkerError as error:
                _fail(lines[name], error, workers.pop(name), say)
        rounds.append(timings)
    return [{n: r[n] for n in workers} for r in rounds if workers.keys() <= r.keys()]


def _kept(rounds: list[stats.Round], settings: Settings) -> list[stats.Round]:
    return rounds if settings.keep_disturbed else stats.kept(rounds)


def timed(worker: Worker, repeats: int) -> stats.Timing:
    """Seconds of one call, and what else used the machine meanwhile."""
    before = sample(worker.process.pid)
    seconds = worker.ask("time", repeats=repeats)["seconds"]
    return stats.Timing(seconds, foreign(before, sample(worker.process.pid)))


def _ask_rest(workers: Mapping[str, Worker], lines: Mapping[str, Result]) -> None:
    """Memory, FLOPs, versions and facts, while the workers are still there."""
    for name, worker in workers.items():
        try:
            memory, info = worker.ask("rss"), worker.ask("info")
        except WorkerError as error:
            lines[name]["failed"] = str(error)
            continue
        info["compile_cold"] = info.pop("compile_seconds")
        lines[name] |= memory | info


def _again(side: Side, lines: Mapping[str, Result], place: _Place) -> float | None:
    """Seconds to compile in a fresh process that finds its cache on disk."""
    with place.open(side, "-again") as worker:
        try:
            worker.ask("warm", calls=2)
            return worker.ask("info")["compile_seconds"]
        except WorkerError as error:
            lines[side.name]["facts"]["compiling again"] = str(error)
            return None


def _rates(row: Row, place: _Place, say: Say) -> dict[str, dict[str, float]]:
    """Framework -> product -> GFLOP/s."""
    rates = {}
    for side in products.sides(row):
        if missing(side):
            continue
        with place.open(side) as worker:
            try:
                rates[side.framework] = worker.ask("info")["facts"]
            except WorkerError as error:
                say(f"error: {error}")
    return rates


def summarise(
    row: Row,
    lines: Mapping[str, Result],
    rounds: list[stats.Round],
    rates: Mapping[str, Mapping[str, float]],
    settings: Settings,
) -> Result:
    """The row's numbers: spreads, ratios, shares of the limit."""
    good = _kept(rounds, settings)
    timed_names = list(rounds[0]) if rounds else []
    ours = [side for side in row.ours if side.name in timed_names]
    flops = {s.name: lines[s.name].get("flops") for s in ours}
    for line in lines.values():
        name = line["name"]
        if name not in timed_names:
            continue
        found = stats.spread(stats.seconds(good, name))
        line["seconds"] = found and found._asdict()
        match = _counterpart(line, ours)
        count = line.get("flops") or flops.get(match)
        if found and count:
            line["gflops"] = count / found.median / 1e9
            limit = max(_fitting(rates.get(line["framework"], {}), line), default=0)
            line["share"] = line["gflops"] / limit if limit else None
        if match and not line["ours"]:
            pair = stats.ratio(good, match, name)
            line["ratio"] = pair and pair._asdict() | {"ours": match}
    return {
        **{
            n: getattr(row, n) for n in ("name", "title", "work", "examples", "product")
        },
        "tried": list(row.tried),
        "wanted": settings.rounds,
        "kept": len(good),
        "thrown": len(rounds) - len(good),
        "products": rates,
        "sides": list(lines.values()),
        "rounds": [
            {n: t._asdict() for n, t in r.items()} | {"disturbed": stats.disturbed(r)}
            for r in rounds
        ],
    }


def _fitting(rates: Mapping[str, float], line: Result) -> list[float]:
    """Rates of products in the side's own dtype."""
    return [rate for what, rate in rates.items() if what.endswith(line["dtype"])]


def _counterpart(line: Result, ours: list[Side]) -> str | None:
    """Our side that a line is compared with: named, or of its dtype, or the first."""
    named = [side.name for side in ours if side.name == line["against"]]
    alike = [side.name for side in ours if side.dtype == line["dtype"]]
    return next(iter(named or alike or [side.name for side in ours]), None)
