"""The figures of a study, drawn without a display and to the same bytes each time."""

import math
from typing import Any

import numpy as np

from experiments.adaptation import adaptations
from experiments.canvas import (
    GREY,
    Figure,
    better,
    canvas,
    short,
    spread_apart,
    style_of,
)
from experiments.confusion import confusions
from experiments.curves import curves
from experiments.mistakes import mistakes
from experiments.shift.selection import figures as of_domains
from experiments.summary import Row, Summary
from experiments.table import count, decimal, share, words


def draw(summary: Summary) -> list[Figure]:
    """Every figure that the study has data for."""
    drawn = (scores(summary), curves(summary), confusions(summary), frontier(summary))
    found = [figure for figure in drawn if figure is not None]
    return found + adaptations(summary) + mistakes(summary) + of_domains(summary)


def scores(summary: Summary) -> Figure | None:
    """A dot a seed, a bar for the mean, a line for the interval; best on top."""
    metric, sign = summary.metric, 1 if summary.higher_is_better else -1
    rows = _scored(summary)
    if not rows:
        return None
    rows.sort(key=lambda row: sign * row.scores[metric].mean)
    with canvas(7.6, 1.1 + 0.5 * len(rows)) as (figure, png):
        axes = figure.add_subplot()
        if summary.reference in rows:
            base = summary.reference.scores[metric].mean
            axes.axvline(base, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        for y, row in enumerate(rows):
            _score_line(axes, y, row, metric, style_of(summary, row.name)["color"])
        axes.set_yticks(range(len(rows)), [short(row.title, 28) for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(f"test {words(metric)}{better(summary)}")
        heading = {"fontsize": 9, "color": GREY, "va": "bottom"}
        where = axes.get_yaxis_transform()
        axes.text(1.02, len(rows) - 0.4, "mean", transform=where, **heading)
        axes.text(1.14, len(rows) - 0.4, "trainable", transform=where, **heading)
        image = png()
    over = summary.units
    bar = f"95 % bootstrap interval over test {over}, averaged over seeds"
    bar = bar if any(row.interval for row in rows) else "± one standard deviation"
    dashed = ""
    if summary.reference in rows:
        dashed = f" Dashed: {summary.reference.title}."
    return Figure(
        "scores.png",
        "Scores by strategy",
        f"Small dot: a seed; large dot: their mean; line: {bar}.{dashed}",
        "; ".join(f"{r.title} {decimal(r.scores[metric].mean)}" for r in rows[::-1]),
        image,
    )


def _scored(summary: Summary) -> list[Row]:
    """The rows with a finite headline score."""
    found = [(row.scores.get(summary.metric), row) for row in summary.rows]
    return [row for score, row in found if score and math.isfinite(score.mean)]


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


CROWD = 12
"""More dots than these have no room for all their names."""


def frontier(summary: Summary) -> Figure | None:
    """Score against the number of parameters that move, on a log axis."""
    metric = summary.metric
    rows = [row for row in _scored(summary) if row.trainable is not None]
    if len(rows) < 2:
        return None
    least = min((row.trainable for row in rows if row.trainable), default=1)
    zero = 10 ** (math.floor(math.log10(least)) - 1)
    crowded = len(rows) > CROWD
    with canvas(6.8, 5.2 if crowded else 3.8) as (figure, png):
        axes = figure.add_subplot()
        axes.set_xscale("log")
        edge = pareto(rows, metric, summary.higher_is_better)
        xs = [row.trainable or zero for row in edge]
        ys = [row.scores[metric].mean for row in edge]
        axes.step(xs, ys, where="post", color=GREY, linewidth=1, linestyle=":")
        for row in rows:
            found, colour = row.scores[metric], style_of(summary, row.name)["color"]
            x, spread = row.trainable or zero, found.sd or 0
            ends = [found.mean - spread, found.mean + spread]
            axes.plot([x, x], ends, color=colour, linewidth=2, alpha=0.45)
            axes.plot([x], [found.mean], "o", color=colour, markersize=9)
        _room(axes, rows, zero)
        if crowded:
            _name_above(axes, summary, [row for row in rows if row in edge])
        else:
            _name_beside(axes, summary, rows, zero)
        axes.xaxis.set_major_formatter(lambda x, _: "0" if x <= zero else count(int(x)))
        axes.xaxis.minorticks_off()
        axes.set_xlabel("trainable parameters")
        axes.set_title(f"test {words(metric)}{better(summary)}")
        axes.grid()
        image = png()
    pairs = [f"{r.title}: {count(r.trainable)}" for r in rows]
    return Figure(
        "frontier.png",
        "Score against trainable parameters",
        "Dot: mean over seeds; line: ± one standard deviation; dotted: the best score "
        "of so many parameters or fewer (Pareto)."
        + (f" Named: these, of {len(rows)} strategies." if crowded else ""),
        "; ".join(pairs),
        image,
    )


def pareto(rows: list[Row], metric: str, higher: bool) -> list[Row]:
    """The rows that no other beats with as few parameters, in order of these."""
    sign, edge = 1 if higher else -1, []
    for row in sorted(rows, key=lambda r: (r.trainable, -sign * r.scores[metric].mean)):
        score = sign * row.scores[metric].mean
        if not edge or score > sign * edge[-1].scores[metric].mean:
            edge.append(row)
    return edge


def _room(axes: Any, rows: list[Row], zero: float) -> None:
    """Limits with room for names around the dots."""
    xs = [row.trainable or zero for row in rows]
    span = math.log10(max(xs) / min(xs)) or 1
    axes.set_xlim(min(xs) / 10 ** (0.12 * span), max(xs) * 10 ** (0.12 * span))
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _name_above(axes: Any, summary: Summary, rows: list[Row]) -> None:
    """Names over the dots of the edge, turned so that they don't meet."""
    for row in rows:
        axes.annotate(
            short(row.title, 26),
            (row.trainable, row.scores[summary.metric].mean),
            xytext=(3, 9),
            textcoords="offset points",
            rotation=55,
            ha="left",
            va="bottom",
            color=style_of(summary, row.name)["color"],
            fontsize=9.5,
        )


def _name_beside(axes: Any, summary: Summary, rows: list[Row], zero: float) -> None:
    """Names beside the dots, on the side where there is room, moved apart."""
    xs = [row.trainable or zero for row in rows]
    middle = math.sqrt(min(xs) * max(xs))
    low, high = axes.get_ylim()
    for side in (1, -1):
        mine = [(row, x) for row, x in zip(rows, xs, strict=True)]
        mine = [(r, x) for r, x in mine if (x <= middle) == (side > 0)]
        mine.sort(key=lambda pair: pair[0].scores[summary.metric].mean)
        heights = [row.scores[summary.metric].mean for row, _ in mine]
        places = spread_apart(heights, 0.06 * (high - low))
        for (row, x), place in zip(mine, places, strict=True):
            axes.annotate(
                short(row.title, 26),
                (x, place),
                xytext=(9 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                color=style_of(summary, row.name)["color"],
                fontsize=9.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
            )
