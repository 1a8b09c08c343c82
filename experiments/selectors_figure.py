"""Scores that see no target label against the truth: which of them ranks right?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.canvas import COLOURS, GREY, INK, Figure, canvas, short
from experiments.table import decimal, words
from tl_jax.metrics.ranking import Agreement, agreement

COLUMNS = 4
ACRONYMS = {"iwcv": "IWCV", "dev": "DEV", "bnm": "BNM", "snd": "SND"}


def selectors(
    scores: Mapping[str, Sequence[float]],
    truth: Sequence[float],
    models: Sequence[str],
    *,
    higher_is_better: Mapping[str, bool],
    metric: str = "accuracy",
    warning: str | None = None,
) -> Figure | None:
    """A panel a score: its value against the truth, a dot a model.

    scores: name -> [M] as given; truth [M], higher is better; models: [M] titles, of
    which equal ones (seeds of a strategy) share a colour. Every panel's right is
    better. Scores that are not finite are not drawn; None without two models.
    """
    truth = np.asarray(truth, np.float64)
    known = {
        name: values
        for name, values in scores.items()
        if len(truth) > 1 and np.isfinite(values).all() and np.isfinite(truth).all()
    }
    if not known:
        return None
    found = {
        name: agreement(values, truth, higher_is_better=higher_is_better[name])
        for name, values in known.items()
    }
    order = sorted(found, key=lambda name: -_known(found[name].spearman))
    titles = list(dict.fromkeys(models))
    columns = min(COLUMNS, len(known))
    rows = -(-len(known) // columns)
    with canvas(2.5 * columns + 1.9, 2.5 * rows) as (figure, png):
        cells = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes in cells[len(known) :]:
            axes.axis("off")
        for i, (axes, name) in enumerate(zip(cells, order, strict=False)):
            colours = [COLOURS[titles.index(m) % len(COLOURS)] for m in models]
            _panel(axes, np.asarray(known[name]), truth, colours, found[name])
            axes.set_title(f"{named(name)}\n{_said(found[name])}", fontsize=9)
            if not higher_is_better[name]:
                axes.invert_xaxis()
            if i % columns == 0:
                axes.set_ylabel(f"target {words(metric)}")
        _legend(figure, titles)
        image = png()
    return Figure(
        "selectors.png",
        "Choosing without target labels",
        "A dot: a model; right is better by the score, up is better in truth. Ring: "
        "the score's choice; line: the best there is. ρ: Spearman's rank correlation "
        "with its 95 % bootstrap interval over models."
        + (f" {warning}" * bool(warning)),
        "; ".join(f"{named(n)} {_said(found[n])}" for n in order),
        image,
    )


def named(name: str) -> str:
    """A score as people write it."""
    return ACRONYMS.get(name, words(name))


def _known(value: float) -> float:
    return -2.0 if math.isnan(value) else value


def _said(found: Agreement) -> str:
    """The correlation in words."""
    if math.isnan(found.spearman):
        return "says nothing"
    ends = f" [{found.low:.2f}, {found.high:.2f}]" if not math.isnan(found.low) else ""
    return f"ρ {found.spearman:.2f}{ends}"


def _panel(
    axes: Any,
    values: np.ndarray,
    truth: np.ndarray,
    colours: Sequence[str],
    found: Agreement,
) -> None:
    axes.axhline(truth.max(), color=GREY, linewidth=0.8, linestyle=":")
    for x, y, colour in zip(values, truth, colours, strict=True):
        axes.plot([x], [y], "o", color=colour, markersize=5, alpha=0.85)
    chosen = values[found.chosen], truth[found.chosen]
    ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.2}
    axes.plot(*chosen, "o", markersize=10, **ring)
    axes.annotate(
        f"loses {decimal(found.regret)}" if found.regret else "the best",
        chosen,
        xytext=(0, -13 if chosen[1] > truth.mean() else 9),
        textcoords="offset points",
        ha="right" if _at_right(values, found.chosen) else "center",
        fontsize=7.5,
        color=GREY,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
    )
    axes.margins(0.12)
    axes.locator_params(axis="x", nbins=3)
    axes.tick_params(labelsize=8)
    axes.grid()


def _at_right(values: np.ndarray, chosen: int) -> bool:
    """The choice is always at the right edge, whichever way the axis runs."""
    return values[chosen] in (values.min(), values.max())


def _legend(figure: Any, titles: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    style = {"linestyle": "", "marker": "o", "markersize": 5}
    handles = [
        Line2D([], [], label=short(t, 18), color=COLOURS[i % len(COLOURS)], **style)
        for i, t in enumerate(titles[:14])
    ]
    figure.legend(
        handles=handles, loc="outside right center", frameon=False, fontsize=8.5
    )
