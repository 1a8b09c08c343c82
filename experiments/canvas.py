"""The canvas that all figures share: style, colours, and PNG bytes that repeat."""

import io
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from experiments.summary import Summary

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9"),
    "#4D4D4D",
)
"""Told apart by colour-blind readers too (Okabe and Ito, 2008), yellow darkened."""
DPI = 160
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


class Figure(NamedTuple):
    """A drawn figure, and what to say of it to who can't see it."""

    file: str
    title: str
    caption: str
    alt: str
    png: bytes


@contextmanager
def canvas(width: float, height: float, layout: str | None = "constrained"):
    """An empty figure, and the function that turns it into PNG bytes.

    Without a `layout` nothing is moved or cut: a unit is `DPI` pixels.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Drawing(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)

        def png() -> bytes:
            file = io.BytesIO()
            box = "tight" if layout else None
            options: dict[str, Any] = {"dpi": DPI, "metadata": {"Software": None}}
            figure.savefig(file, format="png", bbox_inches=box, **options)
            return file.getvalue()

        yield figure, png


def style_of(summary: Summary, name: str) -> dict[str, str]:
    """A strategy's colour and dash, by its place in the study."""
    i = list(summary.study.runs).index(name)
    dash = DASHES[i // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": dash}


def better(summary: Summary) -> str:
    return "" if summary.higher_is_better else " (lower is better)"


def short(text: str, length: int) -> str:
    """One line, cut where it is too long."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def spread_apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as needed to stand `gap` apart."""
    places = list(places)
    for _ in range(200):
        for i, (lower, upper) in enumerate(pairwise(places)):
            if upper - lower < gap:
                middle = (lower + upper) / 2
                places[i], places[i + 1] = middle - gap / 2, middle + gap / 2
    return places
