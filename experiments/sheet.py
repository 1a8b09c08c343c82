"""A contact sheet: some pictures of each class, labelled, in one PNG."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.canvas import DPI, GREY, INK, LIGHT, canvas, short
from tl_jax import data

EDGE, GAP, LINE, HEAD = 96, 8, 34, 68
"""Pixels of a picture's edge, between pictures, of a line of text, of the heading."""
MARGIN, BETWEEN = 24, 36
"""Pixels around the sheet, and between columns of classes."""
LEAST = 640
"""Pixels across a sheet, so that its heading is read."""
MOST = 120
"""Classes shown."""
PER_CLASS = 8


class Group(NamedTuple):
    """Pictures under one heading."""

    title: str
    rows: np.ndarray


class Grid(NamedTuple):
    """How groups lie on a sheet."""

    columns: int
    pictures: int
    """Of a group."""


def contact_sheet(examples: data.Examples, per_class: int = PER_CLASS) -> bytes:
    """PNG of up to `per_class` pictures of each class, evenly drawn from its rows.

    Of more than `MOST` classes so many are shown, evenly drawn, and the heading says
    so.
    """
    every = groups(examples)
    shown = [every[i] for i in _evenly(np.arange(len(every)), MOST)]
    grid = Grid(1 if len(shown) <= 12 else 2 if len(shown) <= 36 else 3, per_class)
    drawn = [_evenly(group.rows, per_class) for group in shown]
    tiles = _tiles(examples.inputs["image"], np.concatenate(drawn))
    deep = -(-len(shown) // grid.columns)
    tall, broad = EDGE + GAP + LINE, per_class * (EDGE + GAP) - GAP
    width = max(2 * MARGIN + grid.columns * (broad + BETWEEN) - BETWEEN, LEAST)
    paper = np.full((2 * MARGIN + HEAD + deep * tall, width, 3), 255, np.uint8)
    titles, ends = [], np.cumsum([len(rows) for rows in drawn])
    for i, (group, end, rows) in enumerate(zip(shown, ends, drawn, strict=True)):
        left = MARGIN + (i // deep) * (broad + BETWEEN)
        top = MARGIN + HEAD + (i % deep) * tall
        titles.append((left, top, group))
        for k, tile in enumerate(tiles[end - len(rows) : end]):
            x, y = left + k * (EDGE + GAP), top + LINE
            paper[y : y + EDGE, x : x + EDGE] = tile
    few = f", {MOST} of them shown" if len(every) > MOST else ""
    kinds = f" in {len(every):,} classes{few}" if examples.classes else ""
    head = f"{examples.name}: {data.size(examples):,} pictures{kinds}"
    return _written(paper, titles, head, f"licence: {examples.licence}", broad)


def groups(examples: data.Examples) -> list[Group]:
    """A group a class; without classes a few in the order of the labels or rows."""
    count = data.size(examples)
    if data.task(examples) == "classes":
        return [
            Group(name, np.flatnonzero(examples.labels == number))
            for number, name in enumerate(examples.classes)
        ]
    if data.task(examples) != "numbers":
        parts = np.array_split(np.arange(count), min(6, count))
        return [Group(f"rows {rows[0]} to {rows[-1]}", rows) for rows in parts]
    parts = np.array_split(np.argsort(examples.labels, kind="stable"), min(6, count))
    ends = [examples.labels[rows[[0, -1]]] for rows in parts]
    return [
        Group(f"{low:.3g} to {high:.3g}", rows)
        for (low, high), rows in zip(ends, parts, strict=True)
    ]


def _evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of the rows, spread over all of them."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _tiles(column: Any, rows: np.ndarray) -> np.ndarray:
    """Whole pictures within squares. uint8 [N EDGE EDGE 3]"""
    chosen = column[rows] if isinstance(column, np.ndarray) else column.take(rows)
    return data.fitted(chosen, tile, (EDGE, EDGE, 3))


def tile(picture: Any, edge: int = EDGE) -> np.ndarray:
    """A picture, whole, in the middle of a square; small ones in plain blocks."""
    from PIL import Image, ImageColor

    if isinstance(picture, np.ndarray):
        grey = picture.ndim == 3 and picture.shape[2] == 1
        picture = Image.fromarray(picture[..., 0] if grey else picture)
    picture = picture.convert("RGB")
    factor = edge / max(picture.size)
    size = tuple(max(round(n * factor), 1) for n in picture.size)
    small = Image.Resampling.NEAREST if factor >= 3 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (edge, edge), ImageColor.getrgb(LIGHT))
    corner = tuple((edge - n) // 2 for n in size)
    square.paste(picture.resize(size, small), corner)
    return np.asarray(square)


def _written(
    paper: np.ndarray,
    titles: list[tuple[int, int, Group]],
    head: str,
    foot: str,
    broad: int,
) -> bytes:
    """The sheet with its words."""
    tall, wide = paper.shape[:2]
    with canvas(wide / DPI, tall / DPI, None) as (figure, png):
        cell = figure.add_axes((0, 0, 1, 1))
        cell.axis("off")
        cell.imshow(paper, interpolation="nearest", aspect="auto")
        below, bold = MARGIN + LINE, {"fontsize": 11, "weight": "bold"}
        _put(cell, (MARGIN, MARGIN), head, wide - 2 * MARGIN, **bold)
        _put(cell, (MARGIN, below), foot, wide - 2 * MARGIN, fontsize=8, color=GREY)
        for left, top, group in titles:
            count, middle = f"{len(group.rows):,}", top + LINE / 2
            last = {"fontsize": 8, "color": GREY, "ha": "right"}
            used = _put(cell, (left + broad, middle), count, broad, **last)
            room = broad - used - GAP
            _put(cell, (left, middle), group.title, room, fontsize=9, color=INK)
        return png()


def _put(
    cell: Any, at: tuple[float, float], text: str, room: float, **style: Any
) -> float:
    """Write a line, cut to so many pixels; returns how many it takes."""
    made = cell.text(*at, short(text, 200), va="center", **style)
    while (width := made.get_window_extent().width * DPI / cell.figure.dpi) > room:
        letters = len(made.get_text())
        if letters == 1:
            break
        made.set_text(short(text, min(int(letters * room / width), letters - 1) or 1))
    return width


def sheet_file(out: Path | None, name: str) -> Path:
    """Where to write: `out`, else a PNG in this folder named like the examples.

    Raises ValueError for another ending, NotADirectoryError for a missing folder.
    """
    if out is None:
        plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
        return Path(f"{plain.strip('-.') or 'pictures'}-sheet.png")
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out {out}: the ending {out.suffix!r} is not .png")
    if not out.absolute().parent.is_dir():
        raise NotADirectoryError(f"--out {out}: there is no folder {out.parent}")
    return out
