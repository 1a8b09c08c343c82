"""Learning curves: validation score and train loss against the step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.canvas import Figure, better, canvas, short, spread_apart, style_of
from experiments.summary import Summary
from experiments.table import decimal, words

SMOOTH = 15
"""Points a mean line keeps apart; longer curves are averaged over a window."""
Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values."""


def curves(summary: Summary) -> Figure | None:
    """Validation score and train loss against the step."""
    metric = summary.metric
    panels = [
        ("validation", metric, f"validation {words(metric)}{better(summary)}"),
        ("train", "loss", "train loss"),
    ]
    panels = [panel for panel in panels if _lines(summary, *panel[:2])]
    if not panels:
        return None
    smoothed = False
    with canvas(4.9 * len(panels), 3.6) as (figure, png):
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
    """Centred mean over `width` neighbours a side, fewer (but as many) at the ends."""
    last = len(values) - 1
    reach = [min(i, last - i, width) for i in range(len(values))]
    return np.asarray([values[i - r : i + r + 1].mean() for i, r in enumerate(reach)])


def _label_ends(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Names at the ends of the lines, moved apart where they would overlap."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap = (high - low) * 0.062
    ends = sorted(ends)
    places = spread_apart([value for value, *_ in ends], gap)
    right = max(step for _, step, *_ in ends)
    for place, (_, _, title, colour) in zip(places, ends, strict=True):
        axes.annotate(
            short(title, 22),
            (right, place),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_ylim(min(low, places[0] - gap / 2), max(high, places[-1] + gap / 2))
