"""What a study of two domains says of label-free choices, distances and bounds."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from experiments import table
from experiments.canvas import Figure
from experiments.distance_figure import bounds, distances
from experiments.domains_figure import COLUMNS, Cloud, domains
from experiments.selectors_figure import named, selectors
from experiments.shift.selectors import FILE
from experiments.study import Run
from experiments.summary import Summary
from tl_jax.metrics.bound import Bound, Term
from tl_jax.metrics.divergence import Distance
from tl_jax.metrics.label_free import SELECTORS
from tl_jax.metrics.ranking import Agreement, Disagreement, agreement, disagreement

UP = {name: selector.higher_is_better for name, selector in SELECTORS.items()}
PANELS = 2 * COLUMNS
"""Strategies whose features are drawn."""


class Models(NamedTuple):
    """Runs of a study that label-free scores can rank."""

    titles: tuple[str, ...]
    """Of the strategy of each run."""
    truth: tuple[float, ...]
    """What each scores on the target; higher is better."""
    scores: dict[str, tuple[float, ...]]
    """Selector -> its score of each run."""


def models(summary: Summary) -> Models | None:
    """The runs that have ended and saw no target label; None with fewer than two."""
    sign = 1.0 if summary.higher_is_better else -1.0
    runs = [run for run in _told(summary) if not _opened(run)]
    runs = [run for run in runs if run.result.get("selectors")]
    if len(runs) < 2:
        return None
    names = [n for n in SELECTORS if all(n in run.result["selectors"] for run in runs)]
    return Models(
        tuple(_title(summary, run.strategy) for run in runs),
        tuple(sign * run.result["test"][summary.metric] for run in runs),
        {n: tuple(float(r.result["selectors"][n]) for r in runs) for n in names},
    )


def _told(summary: Summary) -> Iterator[Run]:
    """All runs that have ended."""
    for runs in summary.study.runs.values():
        yield from (run for run in runs if run.result is not None)


def _opened(run: Run) -> bool:
    return bool(run.result.get("shift", {}).get("opened_target_labels"))


def _title(summary: Summary, name: str) -> str:
    return str(summary.study.info["strategies"][name].get("title", name))


def agreements(found: Models) -> dict[str, Agreement]:
    """Selector -> how it ranks the runs, best correlation first."""
    made = {
        name: agreement(values, found.truth, higher_is_better=UP[name])
        for name, values in found.scores.items()
    }
    return dict(sorted(made.items(), key=lambda pair: -_or_last(pair[1].spearman)))


def _or_last(value: float) -> float:
    return -2.0 if np.isnan(value) else value


def disagreements(found: Models) -> Disagreement:
    """Of strategies by the means over their runs: what one chooses among."""
    titles = list(dict.fromkeys(found.titles))
    which = np.asarray([titles.index(title) for title in found.titles])
    means = {
        name: [float(np.mean(np.asarray(own)[which == i])) for i in range(len(titles))]
        for name, own in found.scores.items()
    }
    return disagreement(means, titles, higher_is_better=UP)


def cells(found: Models) -> tuple[list[tuple[str, bool]], list[list[str]]]:
    """Headings, with whether they hold numbers, and a row a selector."""
    heads = [("score without target labels", False), ("Spearman's ρ", True)]
    heads += [("Kendall's τ", True), ("chooses", False), ("loses", True)]
    rows = []
    for name, own in agreements(found).items():
        known = not np.isnan(own.spearman)
        ends = f" [{own.low:.2f}, {own.high:.2f}]" if known else ""
        rows.append(
            [
                named(name),
                f"{own.spearman:.2f}{ends}" if known else table.NOTHING,
                f"{own.kendall:.2f}" if known else table.NOTHING,
                found.titles[own.chosen],
                table.decimal(own.regret),
            ]
        )
    return heads, rows


def notes(found: Models) -> list[str]:
    """What a reader must know of the table, and the warning if there is one."""
    said = [
        f"Rank correlation with the target's test score over {len(found.truth)} runs "
        "that saw no target label, in brackets a 95 % bootstrap interval over runs. "
        "Loses: the best run's test score less that of the run it chooses."
    ]
    warning = disagreements(found).warning
    return said + ([f"Warning: {warning}"] if warning else [])


def figures(summary: Summary) -> list[Figure]:
    """Of a study of two domains all there is to draw; of others nothing."""
    found = models(summary)
    drawn = [_selectors(summary, found) if found is not None else None]
    first = _first(summary)
    far = {t: _distance(r) for t, r in first.items() if r.result.get("distance")}
    base = summary.reference.title if summary.reference else None
    before = far.get(base)
    drawn.append(distances({t: d for t, d in far.items() if t != base}, before))
    known = {t: _bound(r) for t, r in first.items() if r.result.get("bound")}
    drawn.append(bounds(known))
    drawn += _clouds(summary, first, far)
    return [figure for figure in drawn if figure is not None]


def _selectors(summary: Summary, found: Models) -> Figure | None:
    return selectors(
        found.scores,
        found.truth,
        found.titles,
        higher_is_better=UP,
        metric=summary.metric,
        warning=disagreements(found).warning,
    )


def _first(summary: Summary) -> dict[str, Run]:
    """Title -> the first run of each strategy that has ended, opened ones too."""
    found: dict[str, Run] = {}
    for run in _told(summary):
        found.setdefault(_title(summary, run.strategy), run)
    return found


def _distance(run: Run) -> Distance:
    own = run.result["distance"]
    return Distance(
        **{n: tuple(v) if isinstance(v, list) else v for n, v in own.items()}
    )


def _bound(run: Run) -> Bound:
    def term(value: Any) -> Any:
        return Term(**value) if isinstance(value, dict) else value

    return Bound(**{name: term(v) for name, v in run.result["bound"].items()})


def _clouds(
    summary: Summary, first: dict[str, Run], far: dict[str, Distance]
) -> list[Figure]:
    """Features by domain, of the first strategies; t-SNE once all runs have ended.

    It takes seconds a panel, and the page is written after each run.
    """
    kept = {t: run for t, run in first.items() if (run.path / FILE).is_file()}
    clouds = {}
    for title, run in list(kept.items())[:PANELS]:
        with np.load(run.path / FILE, allow_pickle=False) as file:
            clouds[title] = Cloud(**dict(file))
    if not clouds:
        return []
    classes = [str(c) for c in summary.study.info.get("classes", [])]
    values = {title: far[title].value for title in clouds if title in far}
    methods = ("pca",) if summary.partial else ("pca", "tsne")
    return [domains(clouds, classes, method=m, distances=values) for m in methods]
