"""Tables that say what examples are like: labels, lengths, sizes, samples."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tl_jax import data

POINTS = (0, 5, 25, 50, 75, 95, 100)
"""Percentiles shown of lengths and sizes."""
CLASSES = 120
"""Classes with a line of their own."""
MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "palette",
    "RGBA": "RGB with transparency",
    "I;16": "grey of 16 bits",
}
"""Pillow's mode -> its name, where it is not the mode itself."""


def column_line(name: str, column: Any) -> str:
    """What a column holds."""
    if isinstance(column, np.ndarray):
        return f"column {name}: {column.dtype} {list(column.shape)}"
    if isinstance(column, data.Pictures | data.Held):
        return f"column {name}: {column.rows:,} pictures, each decoded whole"
    return f"column {name}: text"


def label_table(examples: data.Examples) -> Table:
    """Counts a class and split, or the spread of the targets."""
    parts = {"all": np.arange(data.size(examples)), **examples.splits}
    kind = data.task(examples)
    table = Table("class" if kind == "classes" else "labels", box=None, pad_edge=False)
    for name in parts:
        table.add_column(name, justify="right")
    if kind == "classes":
        for number, name in enumerate(examples.classes[:CLASSES]):
            counts = [int((examples.labels[r] == number).sum()) for r in parts.values()]
            table.add_row(escape(name), *(f"{n:,}" for n in counts))
        if (more := len(examples.classes) - CLASSES) > 0:
            table.add_row(f"and {more:,} more classes", *("..." for _ in parts))
    elif kind == "numbers":
        for name in ("min", "mean", "max"):
            found = [getattr(examples.labels[r], name)() for r in parts.values()]
            table.add_row(name, *(f"{value:.3f}" for value in found))
    table.add_row("total", *(f"{len(rows):,}" for rows in parts.values()))
    return table


def length_table(texts: Sequence[str]) -> Table:
    """Percentiles of the texts' lengths in characters and words."""
    measures = {"characters": len, "words": lambda text: len(text.split())}
    return spread("length", {k: [f(t) for t in texts] for k, f in measures.items()})


def spread(title: str, rows: dict[str, Sequence[int]]) -> Table:
    """Percentiles of whole numbers, a row a name."""
    table = Table(title, box=None, pad_edge=False)
    for point in POINTS:
        table.add_column(f"{point}%", justify="right")
    for name, values in rows.items():
        found = np.percentile(values, POINTS)
        table.add_row(name, *(f"{value:,.0f}" for value in found))
    return table


def tell_pictures(console: Console, column: Any) -> None:
    """Sizes, channels and copies of a column of pictures."""
    if isinstance(column, np.ndarray):
        found = [data.kept_in(column[0])] * len(column)
    else:
        found = [column.kept(row) for row in range(column.rows)]
    sizes = Counter((kept.width, kept.height) for kept in found)
    if len(sizes) > 1:
        edges = {"width": [k.width for k in found], "height": [k.height for k in found]}
        console.print(spread("pixels", edges))
    common = ", ".join(f"{w}x{h} {n:,}" for (w, h), n in sizes.most_common(3))
    more = f" and {len(sizes) - 3:,} more" if len(sizes) > 3 else ""
    console.print(f"sizes, width x height: {common}{more}", markup=False)
    modes = Counter(kept.mode for kept in found).most_common()
    named = ", ".join(f"{MODES.get(mode, mode)} {n:,}" for mode, n in modes)
    console.print(f"channels: {named}", markup=False)
    if isinstance(column, data.Pictures | data.Held):
        copies = column.rows - len(np.unique(column.digests))
        if copies:
            console.print(f"copies: {copies:,} pictures equal another to the byte")


def samples(console: Console, examples: data.Examples, count: int) -> None:
    """The first example of each class, or simply the first ones."""
    rows: Any = range(data.size(examples))
    if data.task(examples) == "classes":
        rows = np.unique(examples.labels, return_index=True)[1]
    for row in rows[:count]:
        label = examples.labels[row]
        shown = examples.classes[label] if examples.classes else f"{label:.2f}"
        text = " ".join(examples.inputs["text"][row].split())
        short = text if len(text) <= 160 else text[:159] + "…"
        console.print(f"[{shown}] {short}", markup=False)
