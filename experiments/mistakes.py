"""Test pictures that a run got wrong, kept beside its result and drawn in a grid."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from experiments.canvas import GREY, Figure, canvas, short
from experiments.evaluate import Predicted
from experiments.inputs import raw_picture
from experiments.problem import Problem
from experiments.summary import Summary
from tl_jax.checkpoint import write_atomic

FILE = "mistakes.npz"
SHOWN, COLUMNS = 24, 8


def save(folder: Path, problem: Problem, found: Predicted) -> None:
    """Write the pictures of the surest mistakes on test, and how many there are.

    Of a classification of pictures; other runs write nothing.
    """
    if problem.task.name != "classification" or "image" not in problem.encoded.columns:
        return
    logits = np.asarray(found.logits, np.float64)
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    guess = odds.argmax(-1)
    wrong = np.flatnonzero(guess != found.labels)
    sure = odds[np.arange(len(odds)), guess]
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    size = (*problem.base.preprocess.size, problem.base.preprocess.channels)
    pictures = [raw_picture(problem.encoded, found.index[at]) for at in shown]
    file = io.BytesIO()
    np.savez_compressed(
        file,
        pictures=np.stack(pictures) if pictures else np.zeros((0, *size), np.uint8),
        rows=found.index[shown],
        labels=found.labels[shown],
        guesses=guess[shown],
        probabilities=sure[shown].astype(np.float32),
        wrong=len(wrong),
        tested=len(guess),
    )
    write_atomic(folder / FILE, file.getvalue())


def mistakes(summary: Summary) -> list[Figure]:
    """A grid for each strategy's first run that wrote pictures and has mistakes."""
    figures, classes = [], summary.study.info.get("classes", [])
    for name, runs in summary.study.runs.items():
        run = next((r for r in runs if (r.path / FILE).is_file()), None)
        if run is None:
            continue
        with np.load(run.path / FILE, allow_pickle=False) as kept:
            about = dict(kept)
        if not len(about["pictures"]):
            continue
        title = summary.study.info["strategies"][name].get("title", name)
        figures.append(
            Figure(
                f"mistakes_{name}.png",
                f"Mistakes of {title}, seed {run.seed}",
                f"{int(about['wrong'])} of {int(about['tested'])} test pictures are "
                f"wrong; the {len(about['pictures'])} surest, with the probability of "
                "what was said and, below, what is true.",
                f"Grid of {len(about['pictures'])} test pictures of {title}",
                _grid(about, classes),
            )
        )
    return figures


def _grid(about: dict[str, Any], classes: list[str]) -> bytes:
    pictures = about["pictures"]
    rows = -(-len(pictures) // COLUMNS)
    with canvas(1.35 * COLUMNS, 1.85 * rows) as (figure, png):
        cells = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for cell in cells:
            cell.axis("off")
        for i, (cell, picture) in enumerate(zip(cells, pictures, strict=False)):
            grey = picture.shape[-1] == 1
            cell.imshow(
                picture[..., 0] if grey else picture, cmap="gray", vmin=0, vmax=255
            )
            said = short(classes[about["guesses"][i]], 17)
            true = short(classes[about["labels"][i]], 17)
            odds = about["probabilities"][i]
            cell.set_title(f"{said} {odds:.0%}", fontsize=7, loc="center")
            text = {"fontsize": 7, "color": GREY, "ha": "center", "va": "top"}
            cell.text(0.5, -0.04, f"is {true}", transform=cell.transAxes, **text)
        return png()
