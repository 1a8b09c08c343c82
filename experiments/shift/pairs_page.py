"""The page of several pairs of domains: a table, a picture of gains, links to each."""

import html
from typing import Any

import numpy as np

from experiments import table
from experiments.canvas import Figure, canvas, short
from experiments.markup import framed, shown_figure, shown_rows
from experiments.shift.pairs_summary import Pairs
from experiments.shift.pairs_table import cells, heads, notes


def page(pairs: Pairs, figures: list[Figure]) -> str:
    """The whole page; the same bytes for the same studies."""
    name = str(pairs.info.get("name", pairs.root.name))
    top = heads(pairs)
    rows = [("", [html.escape(cell) for cell in row]) for row in cells(pairs)]
    body = shown_rows([(head, i > 0) for i, head in enumerate(top)], rows)
    said = "".join(f"<p>{html.escape(note)}</p>" for note in notes(pairs))
    links = "".join(
        f'<li><a href="{html.escape(pair.folder)}/report.html">'
        f"{html.escape(pair.name)}</a></li>"
        for pair in pairs.pairs
        if pair.summary is not None
    )
    parts = [
        f"<h1>{html.escape(name)}</h1>",
        f'<p class="headline">{html.escape(headline(pairs))}</p>',
        f'{body}\n<div class="notes">{said}</div>',
        *(f"<h2>{html.escape(f.title)}</h2>{shown_figure(f)}" for f in figures),
        f"<h2>Each pair</h2><ul>{links}</ul>",
    ]
    return framed(name, "\n".join(parts))


def headline(pairs: Pairs) -> str:
    """Which method gained most without target labels, and how often any did harm."""
    lines = [
        line
        for line in pairs.lines
        if line.gain is not None and not line.opened and line.name != pairs.reference
    ]
    if not lines:
        return "No method without target labels has ended yet."
    best = max(lines, key=lambda line: line.gain.value)
    harmed = sum(line.negative for line in lines)
    tests = sum(line.positive + line.none + line.negative for line in lines)
    return (
        f"{best.title} gains most without target labels: "
        f"{table.signed(best.gain.value)} on average over {best.done} pairs, positive "
        f"in {best.positive}, negative in "
        f"{best.negative}. Over all such methods {harmed} of {tests} tests say that "
        "transfer is negative."
    )


def gains(pairs: Pairs) -> Figure | None:
    """A grid of gains over the reference: a row a strategy, a column a pair."""
    lines = [line for line in pairs.lines if line.name != pairs.reference]
    values = np.full((len(lines), len(pairs.pairs)), np.nan)
    marks = np.full(values.shape, "", object)
    for i, line in enumerate(lines):
        for j, pair in enumerate(pairs.pairs):
            row = pair.row(line.name)
            if row is None or row.gain is None:
                continue
            values[i, j] = row.gain
            said = row.comparison.verdict if row.comparison else None
            marks[i, j] = "*" if said and said.verdict != "no difference" else ""
    if not np.isfinite(values).any():
        return None
    return Figure(
        "gains.png",
        "Gain by pair",
        "Mean gain over the reference on the target's test rows; * where the paired "
        "test says that it is none of chance.",
        f"Gains of {len(lines)} strategies on {len(pairs.pairs)} pairs",
        _grid(values, marks, [short(line.title, 26) for line in lines], pairs),
    )


def _grid(
    values: np.ndarray, marks: np.ndarray, titles: list[str], pairs: Pairs
) -> Any:
    rows, columns = values.shape
    limit = max(np.nanmax(np.abs(values)), 1e-3)
    with canvas(2.6 + 0.72 * columns, 1.9 + 0.42 * rows) as (figure, png):
        axes = figure.add_subplot()
        axes.imshow(values, cmap="BrBG", vmin=-limit, vmax=limit, aspect="auto")
        for i in range(rows):
            for j in range(columns):
                if np.isfinite(values[i, j]):
                    dark = abs(values[i, j]) > 0.6 * limit
                    axes.text(
                        *(j, i, f"{values[i, j]:+.3f}{marks[i, j]}"),
                        ha="center",
                        va="center",
                        fontsize=7.5,
                        color="white" if dark else "#1b1f24",
                    )
        names = [f"{short(p.source, 16)}\n→ {short(p.target, 16)}" for p in pairs.pairs]
        axes.set_xticks(range(columns), names, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(rows), titles)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return png()
