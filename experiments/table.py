"""The table of a study: one set of cells, written as Markdown, CSV and text."""

import csv
import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments import paired
from experiments.summary import Row, Score, Summary
from tl_jax.metrics.intervals import Interval

NOTHING = "–"
COUNTS = ("diverged",)
"""Metrics that count rather than measure."""
PARTIAL = "partial: the study has not finished"


class Column(NamedTuple):
    """A heading and how to fill it."""

    heading: str
    cell: Callable[[Row], str]
    number: bool = True
    """Set to the right."""
    extra: int = 0
    """The larger, the sooner left out of a narrow terminal; 0 stays."""


def columns(summary: Summary) -> list[Column]:
    """The columns that this study fills, the headline metric first."""
    kept = [Column("strategy", lambda row: name(row, summary), number=False)]
    for i, metric in enumerate(summary.metrics):
        kept.append(Column(words(metric), _metric_cell(metric), extra=i and 10 + i))
    kept.append(Column("trainable parameters", trainable, extra=1))
    seconds = Column("seconds a run", lambda row: _decimals(row.seconds, 1), extra=2)
    memory = Column(
        "memory of a step, MB", lambda row: _decimals(row.memory, 0), extra=4
    )
    kept += [seconds, memory]
    if any(row.step is not None for row in summary.rows):
        kept.append(Column("ms a step", _step_cell, extra=5))
    if any(row.saved is not None for row in summary.rows):
        saved = Column("saved, MB", lambda row: _decimals(row.saved, 2), extra=6)
        kept.append(saved)
    if summary.reference is not None:
        kept.append(Column("transfer ratio", lambda row: ratio(row, summary), extra=3))
        if any(row.gain is not None for row in summary.rows):
            kept.append(Column("gain", gain, extra=7))
        heading = f"against {summary.reference.title}"
        kept.append(Column(heading, lambda row: verdict(row, summary), number=False))
    return kept


def name(row: Row, summary: Summary) -> str:
    """The strategy's title, and how many of its seeds have ended if not all."""
    if row.done == row.expected:
        return row.title
    return f"{row.title} ({row.done} of {row.expected} seeds)"


def words(metric: str) -> str:
    """A metric's name as people write it: `macro_f1` is macro F1."""
    plain = metric.replace("_", " ")
    return " ".join(w.upper() if w in _SHORT else w for w in plain.split(" "))


_SHORT = {"f1", "auc", "rmse", "mse", "mae", "ece", "nll", "map", "iou", "r2"}


def spread(score: Score | None) -> str:
    """Mean ± sample deviation."""
    if score is None:
        return NOTHING
    mean = decimal(score.mean)
    return mean if score.sd is None else f"{mean} ± {decimal(score.sd)}"


def decimal(value: float) -> str:
    """Three decimals; four digits where a number is large."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def count(number: int | None) -> str:
    """73,728 as 73.7 k."""
    if number is None:
        return NOTHING
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            return f"{number / size:.3g} {unit}"
    return str(number)


def share(row: Row) -> str:
    """Trainable part of all parameters, in per cent."""
    if row.trainable is None or not row.total:
        return ""
    percent = 100 * row.trainable / row.total
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def trainable(row: Row) -> str:
    """Count and share of the parameters that move."""
    part = share(row)
    return f"{count(row.trainable)} ({part})" if part else count(row.trainable)


def ratio(row: Row, summary: Summary) -> str:
    """Score over reference score."""
    if row.name == summary.reference.name:
        return "1" if row.done else NOTHING
    return NOTHING if row.ratio is None else f"{row.ratio:.3f}"


def gain(row: Row) -> str:
    """Score minus reference score, with its interval over seeds."""
    return NOTHING if row.gain is None else gained(row.gain, row.gain_interval)


def gained(value: float, ends: Interval | None) -> str:
    """A difference, with its interval where it has one."""
    if ends is None or math.isnan(ends.low):
        return signed(value)
    return f"{signed(value)} [{signed(ends.low)}, {signed(ends.high)}]"


def verdict(row: Row, summary: Summary) -> str:
    """Positive, negative or no difference, with p; or that there is no test."""
    if row.name == summary.reference.name:
        return "reference"
    if row.comparison is None:
        return NOTHING
    found = row.comparison.verdict
    if found is None:
        return "not tested"
    return f"{found.verdict} ({p_value(found.p)})"


def p_value(p: float) -> str:
    """p to the digits that mean something."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return ("+" if value >= 0 else "−") + decimal(abs(value))


def markdown(summary: Summary) -> str:
    """The table in Markdown, with its notes below."""
    cols = columns(summary)
    rule = ["---:" if column.number else "---" for column in cols]
    lines = [[column.heading for column in cols], rule]
    best = summary.best
    for row in summary.rows:
        bold = "**" if best is not None and row.name == best.name else ""
        cells = [_escape(column.cell(row)) for column in cols]
        lines.append([f"{bold}{cells[0]}{bold}", *cells[1:]])
    head = [*map(_escape, lines[0])]
    body = ["| " + " | ".join(cells) + " |" for cells in [head, *lines[1:]]]
    return "\n".join([*body, "", *(f"{_escape(note)}\n" for note in notes(summary))])


def notes(summary: Summary) -> list[str]:
    """What a reader must know to read the table."""
    seeds = summary.study.info["seeds"]
    found = [
        f"Test set; mean ± sample standard deviation over {len(seeds)} seeds."
        if len(seeds) > 1
        else "Test set; a single seed, so no deviation."
    ]
    if summary.reference is not None:
        who = summary.reference.title
        over = f"score over that of {who}"
        over = over if summary.higher_is_better else f"score of {who} over the score"
        found.append(f"Transfer ratio: {over}; above 1 helps.")
        if len(seeds) > 1:
            found.append(f"Gain: score less that of {who}; 95 % t interval over seeds.")
        task = paired.ROW_SCORES.get(summary.study.info.get("task", "classification"))
        if task is not None:
            found.append(
                f"Verdict: paired sign-flip test of {task.words} on the same test "
                f"{summary.units}, averaged over the same seeds; two-sided, at the "
                "level 0.05, not corrected for the number of strategies."
            )
    for row in summary.rows:
        if row.comparison is not None and row.comparison.why:
            found.append(f"{row.title} is not tested: {row.comparison.why}.")
    if summary.partial:
        done = sum(row.done for row in summary.rows)
        expected = sum(row.expected for row in summary.rows)
        found.append(f"Partial results: {done} of {expected} runs have ended.")
    return found


def to_csv(summary: Summary) -> str:
    """Every number at full precision, one strategy a line; empty where unknown."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    scores = [f"{m}_{part}" for m in summary.metrics for part in ("mean", "sd")]
    writer.writerow(["strategy", "title", "seeds_done", "seeds", *scores, *_PLAIN])
    for row in summary.rows:
        values: list[object] = [row.name, row.title, row.done, row.expected]
        for metric in summary.metrics:
            found = row.scores.get(metric)
            values += [found.mean, found.sd] if found else [None, None]
        outcome = row.comparison.verdict if row.comparison else None
        values += [row.trainable, row.total, row.seconds, row.compile_seconds]
        values += [row.memory, row.step, row.saved, row.ratio, row.gain]
        values += row.gain_interval[1:] if row.gain_interval else [None, None]
        values += [outcome.verdict, outcome.p] if outcome else [None, None]
        writer.writerow(["" if value is None else value for value in values])
    return file.getvalue()


_PLAIN = (
    *("trainable", "total", "seconds", "compile_seconds", "peak_memory_mb"),
    *("step_seconds", "saved_mb"),
    *("transfer_ratio", "gain", "gain_low", "gain_high", "verdict", "p"),
)


def terminal(summary: Summary, width: int = 120) -> Any:
    """The same table for `rich`, with partial results marked.

    Where `width` characters are too few, the least important columns are left out.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept, said = columns(summary), notes(summary)
    while _width(kept, summary) > width and any(column.extra for column in kept):
        kept.remove(max(kept, key=lambda column: column.extra))
    left_out = len(columns(summary)) - len(kept)
    if left_out:
        said.append(f"{left_out} more columns in a wider terminal and in the report.")
    title = str(summary.study.info.get("name", summary.study.root.name))
    table = Table(
        title=Text(f"{title} ({PARTIAL})" if summary.partial else title),
        caption=Text("\n".join(said)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for column in kept:
        table.add_column(Text(column.heading), justify=_side(column))
    best = summary.best
    for row in summary.rows:
        style = "bold" if best is not None and row.name == best.name else ""
        style = "dim" if row.done == 0 else style
        table.add_row(*(Text(column.cell(row)) for column in kept), style=style)
    return table


def _side(column: Column) -> Any:
    return "right" if column.number else "left"


def _width(kept: list[Column], summary: Summary) -> int:
    """Characters that the cells need; headings may wrap between words."""
    wide = 2
    for column in kept:
        cells = [column.cell(row) for row in summary.rows]
        wide += 3 + max(map(len, [*cells, *column.heading.split()]))
    return wide


def _metric_cell(metric: str) -> Callable[[Row], str]:
    if metric in COUNTS:
        return lambda row: counted(row.scores.get(metric))
    return lambda row: spread(row.scores.get(metric))


def _step_cell(row: Row) -> str:
    return NOTHING if row.step is None else f"{1000 * row.step:,.0f}"


def counted(score: Score | None) -> str:
    """A count of the test set, a mean over seeds to one decimal."""
    if score is None:
        return NOTHING
    return f"{score.mean:,.1f}" if len(score.values) > 1 else f"{score.mean:,.0f}"


def _decimals(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _escape(text: str) -> str:
    """Text that can't break a Markdown table."""
    for sign in "\\|*_<>`[]":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())
