"""Distances of domains before and after adaptation, and the bound's terms."""

from collections.abc import Mapping
from typing import Any

from experiments.canvas import COLOURS, GREY, INK, Figure, canvas, short
from tl_jax.metrics.bound import Bound
from tl_jax.metrics.divergence import Distance

TERMS = ("source error", "½ distance", "ideal joint error")
UNKNOWN, ERROR = "unknown", "error on the target"


def distances(
    after: Mapping[str, Distance], before: Distance | None = None
) -> Figure | None:
    """A line a strategy: from the distance before adaptation to the one after.

    after: title -> proxy A-distance of its features; before: of the features that all
    began with. None without any.
    """
    if not after:
        return None
    with canvas(6.6, 1.2 + 0.42 * len(after)) as (figure, png):
        axes = figure.add_subplot()
        if before is not None:
            axes.axvspan(before.low, before.high, color=GREY, alpha=0.15, linewidth=0)
            axes.axvline(before.value, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for y, (title, found) in enumerate(reversed(after.items())):
            i = list(after).index(title)
            _line(axes, y, found, before, COLOURS[i % len(COLOURS)])
        axes.set_yticks(range(len(after)), [short(t, 28) for t in reversed(after)])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(-0.05, 2.05)
        axes.set_ylim(-0.6, len(after) - 0.4)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("proxy A-distance (0: domains look alike, 2: told apart)")
        image = png()
    dashed = " Dashed, with its band: before adaptation." if before is not None else ""
    return Figure(
        "distances.png",
        "Distance of the domains",
        "Dot: 2 (1 - 2 err), err the held-out error of a tuned classifier of domains; "
        f"line: 95 % bootstrap interval over rows.{dashed} A small distance alone is "
        "no success: features that say nothing have it too.",
        "; ".join(f"{title} {found.value:.2f}" for title, found in after.items()),
        image,
    )


def _line(axes: Any, y: int, found: Distance, before: Distance | None, colour: str):
    """One strategy's interval, dot, number, and where it came from."""
    if before is not None and abs(found.value - before.value) > 0.08:
        axes.annotate(
            "",
            (found.value, y),
            (before.value, y),
            arrowprops={"arrowstyle": "->", "color": colour, "alpha": 0.5},
        )
    axes.plot([found.low, found.high], [y, y], color=colour, linewidth=3, alpha=0.45)
    axes.plot([found.value], [y], "o", color=colour, markersize=8)
    where = axes.get_yaxis_transform()
    axes.text(1.02, y, f"{found.value:.2f}", transform=where, va="center")


def bounds(found: Mapping[str, Bound]) -> Figure | None:
    """A bar a strategy: the three terms that bound its error, and the error itself.

    found: title -> its bound. A term that is unknown is left open at the right. None
    without any.
    """
    if not found:
        return None
    with canvas(7.2, 1.3 + 0.46 * len(found)) as (figure, png):
        axes = figure.add_subplot()
        for y, own in enumerate(reversed(found.values())):
            _bar(axes, y, own)
        axes.axvline(1, color=GREY, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(found)), [short(t, 28) for t in reversed(found)])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("error on the target is at most")
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        order = [name for name in (*TERMS, UNKNOWN, ERROR) if name in unique]
        shown = [unique[name] for name in order]
        figure.legend(shown, order, loc="outside upper left", ncols=3, frameon=False)
        image = png()
    return Figure(
        "bounds.png",
        "What bounds the error on the target",
        "Bars: the terms of Ben-David et al. (2010), half-spaces of each strategy's "
        "own features; above 1 (dotted) the bound says nothing. Hatched: a term that "
        "needs target labels and is unknown.",
        "; ".join(f"{title} {_total(own)}" for title, own in found.items()),
        image,
    )


def _total(own: Bound) -> str:
    if own.total is not None:
        return f"{own.total:.2f}"
    return f"{own.source.value + own.half_divergence.value:.2f} and what is unknown"


def _bar(axes: Any, y: int, own: Bound) -> None:
    """One strategy's terms, one after the other, and the error they bound."""
    terms, left = (own.source, own.half_divergence, own.ideal), 0.0
    for name, term, colour in zip(TERMS, terms, COLOURS, strict=False):
        if term is None:
            open_end = {"facecolor": "none", "edgecolor": colour, "hatch": "///"}
            axes.barh(y, 0.15, 0.55, left, label=UNKNOWN, linewidth=0, **open_end)
            continue
        axes.barh(y, term.value, 0.55, left, label=name, color=colour, alpha=0.75)
        left += term.value
    where = axes.get_yaxis_transform()
    axes.text(1.02, y, _total(own).split(" and")[0], transform=where, va="center")
    if own.target is not None:
        axes.plot([own.target.value] * 2, [y - 0.36, y + 0.36], color=INK, label=ERROR)
