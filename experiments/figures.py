"""The figures of a study, drawn without a display and to the same bytes each time."""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.summary import Row, Summary
from experiments.table import count, decimal, share, words

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9"),
    "#4D4D4D",
)
"""Told apart by colour-blind readers too (Okabe and Ito, 2008), yellow darkened."""
DASHES = ("-", "--", ":", "-.")
INK, GREY, LIGHT = "#1b1f24", "#6b7480", "#e4e7eb"
STYLE = {
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LIGHT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "figure.facecolor": "white",
}
SMOOTH = 25
"""Points a mean line keeps apart; longer curves are averaged over a window."""


class Figure(NamedTuple):
    """A drawn figure, and what to say of it to who can't see it."""

    file: str
    title: str
    caption: str
    alt: str
    png: bytes


def draw(summary: Summary) -> list[Figure]:
    """Every figure that the study has data for."""
    drawn = (scores(summary), curves(summary), confusions(summary), frontier(summary))
    return [figure for figure in drawn if figure is not None]


def style_of(summary: Summary, name: str) -> dict[str, str]:
    """A strategy's colour and dash, by its place in the study."""
    i = list(summary.study.runs).index(name)
    dash = DASHES[i // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": dash}


def scores(summary: Summary) -> Figure | None:
    """A dot a seed, a bar for the mean, a line for the interval; best on top."""
    metric, sign = summary.metric, 1 if summary.higher_is_better else -1
    rows = [row for row in summary.rows if metric in row.scores]
    if not rows:
        return None
    rows.sort(key=lambda row: sign * row.scores[metric].mean)
    with _canvas(7.6, 1.1 + 0.5 * len(rows)) as (figure, png):
        axes = figure.add_subplot()
        if summary.reference in rows:
            base = summary.reference.scores[metric].mean
            axes.axvline(base, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        for y, row in enumerate(rows):
            _score_line(axes, y, row, metric, style_of(summary, row.name)["color"])
        axes.set_yticks(range(len(rows)), [_short(row.title, 28) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(f"test {words(metric)}{_better(summary)}")
        heading = {"fontsize": 9, "color": GREY, "va": "bottom"}
        where = axes.get_yaxis_transform()
        axes.text(1.02, len(rows) - 0.4, "mean", transform=where, **heading)
        axes.text(1.14, len(rows) - 0.4, "trainable", transform=where, **heading)
        image = png()
    bar = "95 % bootstrap interval over test rows, averaged over seeds"
    bar = bar if any(row.interval for row in rows) else "± one standard deviation"
    dashed = ""
    if summary.reference in rows:
        dashed = f" Dashed: {summary.reference.title}."
    return Figure(
        "scores.png",
        "Scores by strategy",
        f"Test {words(metric)}: a small dot a seed, a large one their mean; line: {bar}."
        + dashed,
        "; ".join(f"{r.title} {decimal(r.scores[metric].mean)}" for r in rows[::-1]),
        image,
    )


def _score_line(axes: Any, y: int, row: Row, metric: str, colour: str) -> None:
    """One strategy's seeds, mean, interval and numbers."""
    found = row.scores[metric]
    low, high = row.interval or (
        found.mean - (found.sd or 0),
        found.mean + (found.sd or 0),
    )
    axes.plot([low, high], [y, y], color=colour, linewidth=2, alpha=0.45)
    axes.plot([found.mean], [y], "o", color=colour, markersize=9)
    if len(found.values) > 1:
        dots = np.full(len(found.values), y - 0.24)
        axes.plot(found.values, dots, "o", color=colour, markersize=3.5, alpha=0.8)
    where = axes.get_yaxis_transform()
    axes.text(1.02, y, decimal(found.mean), transform=where, va="center")
    part = f" ({share(row)})" if share(row) else ""
    text = f"{count(row.trainable)}{part}"
    axes.text(1.14, y, text, transform=where, va="center", color=GREY)


def curves(summary: Summary) -> Figure | None:
    """Validation score and train loss against the step."""
    metric = summary.metric
    panels = [
        ("validation", metric, f"validation {words(metric)}{_better(summary)}"),
        ("train", "loss", "train loss"),
    ]
    panels = [panel for panel in panels if _lines(summary, *panel[:2])]
    if not panels:
        return None
    smoothed = False
    with _canvas(4.9 * len(panels), 3.6) as (figure, png):
        for place, (split, name, label) in enumerate(panels, 1):
            axes = figure.add_subplot(1, len(panels), place)
            smoothed |= _panel(axes, summary, _lines(summary, split, name))
            axes.set_title(label)
            axes.set_xlabel("step")
            axes.grid()
        image = png()
    window = " Long mean lines are moving averages." if smoothed else ""
    last = {row.title: row.validation.get(metric) for row in summary.rows}
    alt = [f"{title} {decimal(s.mean)}" for title, s in last.items() if s]
    return Figure(
        "curves.png",
        "Learning curves",
        f"Thick: mean over seeds; thin: each seed.{window}",
        f"Validation {words(metric)} of the chosen steps: {'; '.join(alt)}",
        image,
    )


Curve = tuple[np.ndarray, np.ndarray]


def _lines(summary: Summary, split: str, name: str) -> dict[str, list[Curve]]:
    """Strategy -> (steps, values) of each seed that recorded `name`."""
    found: dict[str, list[Curve]] = {}
    for strategy, runs in summary.study.runs.items():
        for run in runs:
            points = [
                (r["step"], r[name])
                for r in run.records
                if r.get("split") == split and isinstance(r.get(name), (int, float))
            ]
            if points:
                steps, values = np.asarray(points, np.float64).T
                found.setdefault(strategy, []).append((steps, values))
    return found


def _panel(axes: Any, summary: Summary, lines: dict[str, list[Curve]]) -> bool:
    """Draw all strategies' curves; true if a mean line had to be smoothed."""
    titles = {row.name: row.title for row in summary.rows}
    ends, smoothed = [], False
    for strategy, seeds in lines.items():
        style = style_of(summary, strategy)
        for steps, values in seeds:
            axes.plot(steps, values, linewidth=0.7, alpha=0.28, **style)
        steps, mean = _mean_line(seeds)
        if len(mean) > 2 * SMOOTH:
            mean, smoothed = _moving_mean(mean, len(mean) // SMOOTH), True
        axes.plot(steps, mean, linewidth=2, **style)
        finite = mean[np.isfinite(mean)]
        if len(finite):
            ends.append((finite[-1], steps[-1], titles[strategy], style["color"]))
    _label_ends(axes, ends)
    return smoothed


def _mean_line(seeds: Sequence[Curve]) -> Curve:
    """Mean over seeds, at the steps that all of them recorded (else at any)."""
    tables = [dict(zip(*seed, strict=True)) for seed in seeds]
    common = set.intersection(*map(set, tables)) or set.union(*map(set, tables))
    steps = sorted(common)
    means = [np.mean([t[s] for t in tables if s in t]) for s in steps]
    return np.asarray(steps), np.asarray(means)


def _moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Centred mean over up to 2 width + 1 neighbours, fewer at the ends."""
    return np.asarray(
        [values[max(0, i - width) : i + width + 1].mean() for i in range(len(values))]
    )


def _label_ends(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Names at the ends of the lines, moved apart where they would overlap."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap = (high - low) * 0.062
    ends = sorted(ends)
    places = [value for value, *_ in ends]
    for _ in range(200):
        for i, (lower, upper) in enumerate(pairwise(places)):
            if upper - lower < gap:
                middle = (lower + upper) / 2
                places[i], places[i + 1] = middle - gap / 2, middle + gap / 2
    right = max(step for _, step, *_ in ends)
    for place, (_, _, title, colour) in zip(places, ends, strict=True):
        axes.annotate(
            _short(title, 22),
            (right, place),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_ylim(min(low, places[0] - gap / 2), max(high, places[-1] + gap / 2))


def confusions(summary: Summary) -> Figure | None:
    """One matrix a strategy: rows are true classes and sum to 1; counts over seeds."""
    tables = {row.title: _confusion(summary, row.name) for row in summary.rows}
    tables = {title: table for title, table in tables.items() if table is not None}
    if not tables:
        return None
    classes = len(next(iter(tables.values())))
    names = [str(c) for c in summary.study.info.get("classes") or range(classes)]
    wide = min(3, len(tables), max(1, 30 // classes + 1))
    high = math.ceil(len(tables) / wide)
    side = min(6.5, max(2.3, 0.4 * classes))
    with _canvas(wide * (side + 0.25) + 1, high * (side + 0.5) + 0.7) as (figure, png):
        for i, (title, table) in enumerate(tables.items()):
            axes = figure.add_subplot(high, wide, i + 1)
            _matrix(axes, table, names, i % wide == 0, i + wide >= len(tables))
            axes.set_title(_short(title, 30))
        image = png()
    alt = [f"{t} {np.trace(m) / max(m.sum(), 1):.0%}" for t, m in tables.items()]
    counts = "Numbers: test rows, summed over seeds. " if classes <= MANY else ""
    return Figure(
        "confusion.png",
        "Confusion matrices",
        f"Rows are true classes, columns predictions. {counts}Colour: share of the row.",
        f"On the diagonal: {'; '.join(alt)}",
        image,
    )


MANY = 14
"""More classes than this, and matrices show no counts."""


def _confusion(summary: Summary, name: str) -> np.ndarray | None:
    """Counts [C C] over seeds; None if no run has square ones of one size."""
    found = [r.result.get("confusion") for r in summary.study.runs[name] if r.result]
    found = [np.asarray(table) for table in found if table]
    if not found or any(t.shape != found[0].shape or t.ndim != 2 for t in found):
        return None
    return np.sum(found, axis=0)


def _matrix(axes: Any, table: np.ndarray, names: list[str], left: bool, low: bool):
    """One matrix, with names on the outer sides only."""
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    classes = len(table)
    if classes <= MANY:
        size = 9 if classes <= 8 else 7
        for (i, j), number in np.ndenumerate(table):
            ink = "white" if shares[i, j] > 0.55 else INK if number else "#b4bac2"
            text = {"ha": "center", "va": "center", "fontsize": size, "color": ink}
            axes.text(j, i, f"{number}", **text)
    step = math.ceil(classes / 40)
    ticks = range(0, classes, step)
    shown = [_short(names[i], 16) if i < len(names) else str(i) for i in ticks]
    size = 9 if classes <= 12 else 7
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(ticks, shown if low else [""] * len(ticks), fontsize=size, **turned)
    axes.set_yticks(ticks, shown if left else [""] * len(ticks), fontsize=size)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def frontier(summary: Summary) -> Figure | None:
    """Score against the number of parameters that move, on a log axis."""
    metric = summary.metric
    rows = [r for r in summary.rows if metric in r.scores and r.trainable is not None]
    if len(rows) < 2:
        return None
    least = min((row.trainable for row in rows if row.trainable), default=1)
    zero = 10 ** (math.floor(math.log10(least)) - 1)
    with _canvas(6.8, 3.8) as (figure, png):
        axes = figure.add_subplot()
        axes.set_xscale("log")
        for row in rows:
            found, colour = row.scores[metric], style_of(summary, row.name)["color"]
            x, spread = row.trainable or zero, found.sd or 0
            ends = [found.mean - spread, found.mean + spread]
            axes.plot([x, x], ends, color=colour, linewidth=2, alpha=0.45)
            axes.plot([x], [found.mean], "o", color=colour, markersize=9)
        _name_points(axes, summary, rows, zero)
        axes.xaxis.set_major_formatter(lambda x, _: "0" if x <= zero else count(int(x)))
        axes.xaxis.minorticks_off()
        axes.set_xlabel("trainable parameters")
        axes.set_title(f"test {words(metric)}{_better(summary)}")
        axes.grid()
        image = png()
    pairs = [f"{r.title}: {count(r.trainable)}" for r in rows]
    return Figure(
        "frontier.png",
        "Score against trainable parameters",
        "Dot: mean over seeds; line: ± one standard deviation.",
        "; ".join(pairs),
        image,
    )


def _name_points(axes: Any, summary: Summary, rows: list[Row], zero: float) -> None:
    """Names beside the dots, on the side where there is room, moved apart."""
    xs = [row.trainable or zero for row in rows]
    middle = math.sqrt(min(xs) * max(xs))
    span = math.log10(max(xs) / min(xs)) or 1
    axes.set_xlim(min(xs) / 10 ** (0.12 * span), max(xs) * 10 ** (0.12 * span))
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    for row, x in zip(rows, xs, strict=True):
        side = 1 if x <= middle else -1
        axes.annotate(
            _short(row.title, 26),
            (x, row.scores[summary.metric].mean),
            xytext=(9 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            color=style_of(summary, row.name)["color"],
            fontsize=9.5,
        )


@contextmanager
def _canvas(width: float, height: float):
    """An empty figure, and the function that turns it into PNG bytes."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Drawing(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)

        def png() -> bytes:
            file = io.BytesIO()
            options: dict[str, Any] = {"dpi": 160, "metadata": {"Software": None}}
            figure.savefig(file, format="png", bbox_inches="tight", **options)
            return file.getvalue()

        yield figure, png


def save(folder: Path, figures: Sequence[Figure], write: Callable) -> None:
    """Put the images beside the report."""
    for figure in figures:
        write(folder / figure.file, figure.png)


def _better(summary: Summary) -> str:
    return "" if summary.higher_is_better else " (lower is better)"


def _short(text: str, length: int) -> str:
    """One line, cut where it is too long."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 1] + "…"
