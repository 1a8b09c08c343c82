"""Results as Markdown: the table of all rows, a page for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.benchmarks.stats import LIMIT

Result = dict[str, Any]
NOTHING = "–"
HEAD = (
    *("work", "side", "time of a call", "peer / ours", "examples/s", "GFLOP/s"),
    *("share of GEMM peak", "peak memory, MB", "compile cold / warm, s"),
    "rounds (thrown away)",
)
NOTES = (
    "Median and quartiles of interleaved rounds. `peer / ours` is the median of ratios "
    "within a round, against our side of the same precision: above 1 we are faster.",
    "GFLOP/s: the FLOPs that XLA counts in our program, a loop's body once, over the "
    "time of each side; where we multiply less than a peer, it is less. The peak "
    "is the better of a 2048 cubed and the row's own product, in the side's own "
    "framework and precision, measured in the same run.",
    f"A round is thrown away where other processes used more than {LIMIT:g} cores "
    "during one of its timings.",
)


def duration(seconds: float) -> str:
    """Three digits with a unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}"
    return NOTHING


def spread(found: Mapping[str, float] | None, form: Any) -> str:
    """Median [lower, upper quartile]."""
    if not found:
        return NOTHING
    low, high = form(found["low"]), form(found["high"])
    return f"{form(found['median'])} [{low}, {high}]"


def times(value: float) -> str:
    """1.72x."""
    return f"{value:.2f}x"


def line(result: Result, side: Result) -> list[str]:
    """The cells of one side."""
    head = [result["title"], f"**{side['name']}**" if side["ours"] else side["name"]]
    if side["missing"] or side["failed"]:
        why = side["missing"] or "failed: " + side["failed"]
        return [*head, why, *[NOTHING] * (len(HEAD) - 3)]
    seconds = side.get("seconds")
    rate = NOTHING
    if result["examples"] and seconds:
        rate = f"{result['examples'] / seconds['median']:,.0f}"
    share = side.get("share")
    rounds = f"{result['kept']} ({result['thrown']})"
    return [
        *head,
        spread(seconds, duration) if seconds else "every round was disturbed",
        spread(side.get("ratio"), times),
        rate,
        _number(side.get("gflops")),
        NOTHING if share is None else f"{100 * share:.0f} %",
        _number(side.get("peak_mb")),
        _compile(side),
        rounds,
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _compile(side: Result) -> str:
    cold, warm = side["compile_cold"], side["compile_warm"]
    if cold is None:
        return NOTHING
    return f"{cold:.2f} / " + (NOTHING if warm is None else f"{warm:.2f}")


def grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    clean = [[" ".join(cell.replace("|", "\\|").split()) for cell in r] for r in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in clean)


def table(results: Sequence[Result]) -> str:
    """All rows, with what must be known to read them."""
    lines = [line(result, side) for result in results for side in result["sides"]]
    measured: dict[str, list[str]] = {}
    for result in results:
        measured.setdefault(about(result), []).append(result["name"])
    where = [f"{', '.join(names)}: {text}" for text, names in measured.items()]
    return f"{grid(HEAD, lines)}\n\n{_list((*NOTES, *where))}\n"


def about(result: Result) -> str:
    """Machine, versions and date in a line."""
    measured = result["measured"]
    versions = ", ".join(f"{n} {v}" for n, v in sorted(measured["versions"].items()))
    return f"{measured['machine']}; {versions}; {measured['date']}"


def page(result: Result) -> str:
    """Everything about one row."""
    sides = [
        side for side in result["sides"] if not (side["missing"] or side["failed"])
    ]
    parts = [f"# {result['title']}", result["work"]]
    parts.append(grid(HEAD[1:], [line(result, s)[1:] for s in result["sides"]]))
    parts += ["## What was tried", _list(result["tried"]) or "Nothing is recorded yet."]
    parts += ["## What else is known", _list([_facts(side) for side in sides])]
    rates = [
        [what, framework, f"{rate:,.0f}"]
        for framework, found in result["products"].items()
        for what, rate in found.items()
    ]
    if rates:
        parts += ["## Matrix products", grid(("product", "by", "GFLOP/s"), rates)]
    parts += ["## Every round", _rounds(result)]
    parts.append(_list((*NOTES, about(result))))
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(side: Result) -> str:
    """One side's facts in a line."""
    known = {"allocator": side["allocator"], **side["environment"], **side["facts"]}
    if "timed_mb" in side:
        known["peak RSS after warming up, MB"] = f"{side['timed_mb']:,.0f}"
    return f"{side['name']}: " + ", ".join(f"{k} {_plain(v)}" for k, v in known.items())


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rounds(result: Result) -> str:
    """Seconds of each round, with the cores that others used."""
    rounds = result["rounds"]
    if not rounds:
        return "There was none."
    names = [name for name in rounds[0] if name != "disturbed"]
    lines = [
        [
            str(number),
            *(f"{duration(r[n]['seconds'])} ({r[n]['foreign']:.2f})" for n in names),
            "yes" if r["disturbed"] else "no",
        ]
        for number, r in enumerate(rounds, 1)
    ]
    head = ("round", *(f"{name} (cores used by others)" for name in names), "disturbed")
    return grid(head, lines)


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
