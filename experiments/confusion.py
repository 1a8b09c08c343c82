"""Confusion matrices of all strategies side by side."""

import math
from typing import Any

import numpy as np

from experiments.canvas import INK, Figure, canvas, short
from experiments.summary import Summary

MANY = 14
"""More classes than this, and matrices show no counts."""


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
    with canvas(wide * (side + 0.25) + 1, high * (side + 0.5) + 0.7) as (figure, png):
        for i, (title, table) in enumerate(tables.items()):
            axes = figure.add_subplot(high, wide, i + 1)
            _matrix(axes, table, names, i % wide == 0, i + wide >= len(tables))
            axes.set_title(short(title, 30))
        image = png()
    alt = [f"{t} {np.trace(m) / max(m.sum(), 1):.0%}" for t, m in tables.items()]
    counts = "Numbers: test rows, summed over seeds. " if classes <= MANY else ""
    return Figure(
        "confusion.png",
        "Confusion matrices",
        f"Rows: true classes; columns: predictions. {counts}Colour: share of the row.",
        f"On the diagonal: {'; '.join(alt)}",
        image,
    )


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
    shown = [short(names[i], 16) if i < len(names) else str(i) for i in ticks]
    size = 9 if classes <= 12 else 7
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(ticks, shown if low else [""] * len(ticks), fontsize=size, **turned)
    axes.set_yticks(ticks, shown if left else [""] * len(ticks), fontsize=size)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
