"""What test episodes cost after each number of adaptation steps, and some fits."""

import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.canvas import GREY, INK, Figure, better, canvas, short, style_of
from experiments.episode_settings import SHOWN
from experiments.evaluate import Predicted
from experiments.job import Job, Part
from experiments.summary import Summary
from experiments.table import decimal, words
from tl_jax.checkpoint import write_atomic
from tl_jax.distribute import place_batch, share
from tl_jax.types import Frozen, State

FILE = "adaptation.npz"
FITS = (0, 1, 10)
"""Steps after which a fit is drawn, those of them that were tested."""


def table(
    job: Job, part: Part, state: State, frozen: Frozen, after: dict[int, Predicted]
) -> dict[str, np.ndarray]:
    """Each metric by steps; of generated regressions, some tasks' fits as well.

    Empty for a learner without steps. All processes call it.
    """
    if not after:
        return {}
    steps = sorted(after)
    found = {
        f"scores/{name}": np.asarray(
            [metric(after[k].logits, after[k].labels) for k in steps]
        )
        for name, metric in job.problem.task.metrics.items()
    }
    grid = job.problem.grid()
    if grid is not None:
        found |= _fits(job, part, state, frozen, grid, steps)
    return {"steps": np.asarray(steps)} | found


def save(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Write such a table, if there is anything in it."""
    if not found:
        return
    file = io.BytesIO()
    np.savez_compressed(file, **found)
    write_atomic(folder / FILE, file.getvalue())


def _fits(
    job: Job, part: Part, state: State, frozen: Frozen, grid: Any, steps: list[int]
) -> dict[str, np.ndarray]:
    """Tasks' points, truth and what is predicted after some numbers of steps."""
    (shard, shards), layout = share(job.problem.layout), job.problem.layout
    own = jax.tree.map(lambda x: x.reshape(shards, -1, *x.shape[1:])[shard], grid)
    placed = place_batch(layout, own)
    support, query = grid["support"], grid["query"]
    found = {
        "fits/x": query["inputs"]["features"],
        "fits/truth": query["labels"],
        "fits/points_x": support["inputs"]["features"],
        "fits/points_y": support["labels"],
    }
    for k in steps:
        if k in FITS or k == steps[-1]:
            found[f"fits/after_{k}"] = part.after[k](state, frozen, placed)
    return {name: np.asarray(values)[: SHOWN[0]] for name, values in found.items()}


def _read(summary: Summary) -> dict[str, list[dict[str, np.ndarray]]]:
    """Strategy -> what each of its runs wrote."""
    found: dict[str, list] = {}
    for name, runs in summary.study.runs.items():
        for run in runs:
            path: Path = run.path / FILE
            if path.is_file():
                with np.load(path, allow_pickle=False) as kept:
                    found.setdefault(name, []).append(dict(kept))
    return found


def adaptations(summary: Summary) -> list[Figure]:
    """Scores by adaptation steps, and the fits of a few tasks; none without any."""
    found = _read(summary)
    if not found:
        return []
    fits = {n: runs[0] for n, runs in found.items() if "fits/x" in runs[0]}
    return [_curve(summary, found), *([_tasks(summary, fits)] if fits else [])]


def _title(summary: Summary, name: str) -> str:
    return summary.study.info["strategies"][name].get("title", name)


def _curve(summary: Summary, found: dict[str, list[dict]]) -> Figure:
    """A line a strategy: the headline on test after 0, 1, 2, ... steps."""
    metric, told = summary.metric, []
    with canvas(7.2, 4.0) as (figure, png):
        axes = figure.add_subplot()
        for name, runs in found.items():
            steps = runs[0]["steps"]
            each = np.stack([run[f"scores/{metric}"] for run in runs])
            mean, style = each.mean(0), style_of(summary, name)
            for values in each:
                axes.plot(steps, values, linewidth=0.7, alpha=0.28, **style)
            axes.plot(
                steps,
                mean,
                marker="o",
                markersize=3.5,
                label=_title(summary, name),
                **style,
            )
            told.append(f"{_title(summary, name)} {decimal(float(mean[-1]))}")
        still = [row for row in summary.rows if row.name not in found]
        still = [row for row in still if metric in row.scores]
        for row in still:
            style = style_of(summary, row.name) | {"linestyle": (0, (4, 3))}
            value = row.scores[metric].mean
            axes.axhline(value, linewidth=1.2, label=row.title, **style)
        if not summary.higher_is_better:
            _log_scale(axes)
        axes.set_xlabel("adaptation steps on the support set")
        axes.set_ylabel(f"test {words(metric)}{better(summary)}")
        axes.grid()
        axes.legend(
            frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5)
        )
        image = png()
    dashed = " Dashed: learners that take no steps." if still else ""
    return Figure(
        "adaptation.png",
        "Adaptation",
        "Thick: mean over seeds; thin: each seed. Step 0 is the start, before any "
        f"example of the task was seen.{dashed}",
        f"Test {words(metric)} after the last step: {'; '.join(told)}",
        image,
    )


def _log_scale(axes: Any) -> None:
    """A logarithmic y axis with numbers as people write them."""
    from matplotlib import ticker

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _tasks(summary: Summary, fits: dict[str, dict]) -> Figure:
    """A row a strategy, a column a task: truth, examples, and what is predicted."""
    first = next(iter(fits.values()))
    tasks = len(first["fits/x"])
    with canvas(2.5 * tasks + 1.2, 1.7 * len(fits)) as (figure, png):
        cells = figure.subplots(
            len(fits), tasks, squeeze=False, sharex=True, sharey=True
        )
        for row, (name, own) in zip(cells, fits.items(), strict=True):
            colour = style_of(summary, name)["color"]
            for k, axes in enumerate(row):
                _one(axes, own, k, colour)
            row[0].set_ylabel(short(_title(summary, name), 14), fontsize=9)
        high = 1.5 * float(np.abs(first["fits/truth"]).max())
        cells[0][0].set_ylim(-high, high)
        lines, names = cells[0][0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=5, frameon=False)
        image = png()
    return Figure(
        "fits.png",
        "Fits of some test tasks",
        "The first seed. Points: the task's examples; the paler a line, the fewer "
        "steps were taken on them.",
        f"Fits of {tasks} tasks by {', '.join(_title(summary, n) for n in fits)}",
        image,
    )


def _one(axes: Any, own: dict[str, np.ndarray], k: int, colour: str) -> None:
    x = own["fits/x"][k, :, 0]
    axes.plot(
        x, own["fits/truth"][k, :, 0], color=GREY, linewidth=3, alpha=0.4, label="truth"
    )
    names = sorted(
        (n for n in own if n.startswith("fits/after_")),
        key=lambda n: int(n.rpartition("_")[2]),
    )
    for i, name in enumerate(names):
        steps = name.rpartition("_")[2]
        axes.plot(
            x,
            own[name][k, :, 0],
            color=colour,
            linewidth=1.3,
            alpha=0.25 + 0.75 * i / max(len(names) - 1, 1),
            label=f"after {steps} step{'' if steps == '1' else 's'}",
        )
    points = own["fits/points_x"][k, :, 0], own["fits/points_y"][k, :, 0]
    axes.plot(
        *points, linestyle="", marker="o", color=INK, markersize=3, label="examples"
    )
