"""Data sets by name: list them, fetch them, look into one.

    python -m experiments.data list
    python -m experiments.data fetch bbc vader/film
    python -m experiments.data show bbc

Downloads go to `TL_JAX_CACHE`, else `~/.cache/tl_jax`, and are made once.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from tl_jax import assets
from tl_jax.data.catalogue import Entry, catalogue, find, load
from tl_jax.data.sources import Examples, size, task
from tl_jax.tree import NoMatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 for an unknown name, 1 where a file is not to be had."""
    given = parser().parse_args(argv)
    console = Console()
    try:
        given.run(console, given)
    except NoMatch as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (assets.Unavailable, assets.Damaged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m experiments.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="list|fetch|show")
    every = commands.add_parser("list", help="all data sets, and which are cached")
    every.set_defaults(run=list_all)
    fetch = commands.add_parser("fetch", help="download data sets by name")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="as `list` shows it")
    fetch.set_defaults(run=fetch_all)
    look = commands.add_parser("show", help="classes, splits, lengths and samples")
    look.add_argument("name", metavar="NAME", help="as `list` shows it")
    look.add_argument("--samples", type=int, default=3, help="texts shown (default 3)")
    look.set_defaults(run=show)
    return top


def list_all(console: Console, given: argparse.Namespace) -> None:
    """A table of the catalogue."""
    table = Table("name", "task", box=None, pad_edge=False)
    for column in ("examples", "classes", "MB"):
        table.add_column(column, justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("cached")
    for name, entry in catalogue().items():
        asset = entry.asset
        megabytes = f"{asset.megabytes:g}" if asset else "-"
        counts = f"{entry.examples:,}", str(entry.classes or "-"), megabytes
        table.add_row(name, entry.task, *counts, entry.licence, cached(entry))
    console.print(table)


def cached(entry: Entry) -> str:
    """Whether loading needs a download: `yes`, `no`, or `built in`."""
    if entry.asset is None:
        return "built in"
    return "yes" if assets.is_cached(entry.asset) else "no"


@contextmanager
def downloads(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar in bytes that appears with the first one."""
    columns = TextColumn("downloading"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("", total=None, visible=False)
        yield lambda done, total: bars.update(
            bar, completed=done, total=total, visible=True
        )


def fetch_all(console: Console, given: argparse.Namespace) -> None:
    """Fetch each named data set; nothing is fetched if one name is unknown."""
    entries = {name: find(name) for name in given.names}
    for name, entry in entries.items():
        if entry.asset is None:
            console.print(f"{name}: built in, nothing to fetch")
            continue
        folder = fetched(console, entry.asset)
        console.print(f"{name}: {folder}", markup=False, soft_wrap=True)


def fetched(console: Console, asset: assets.Asset) -> Any:
    """The folder of an asset, with progress and licence shown at first use."""
    with downloads(console) as progress:
        return assets.fetch(asset, report=_say(console), progress=progress)


def _say(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, markup=False, soft_wrap=True)


def show(console: Console, given: argparse.Namespace) -> None:
    """Counts, licence, lengths and samples of one data set."""
    if find(given.name).asset is not None:
        fetched(console, find(given.name).asset)
    examples = load(given.name, report=_say(console))
    head = f"{examples.name}: {size(examples):,} examples, task {task(examples)}"
    console.print(head, style="bold", markup=False)
    console.print(f"licence: {examples.licence}", markup=False)
    for note in examples.notes:
        console.print(f"note: {note}", markup=False)
    for name, column in examples.inputs.items():
        shape = list(column.shape) if isinstance(column, np.ndarray) else "text"
        console.print(f"column {name}: {shape}", markup=False)
    console.print(label_table(examples))
    if "text" in examples.inputs:
        console.print(length_table(examples.inputs["text"]))
        samples(console, examples, given.samples)


def label_table(examples: Examples) -> Table:
    """Counts a class and split, or the spread of the targets."""
    parts = {"all": np.arange(size(examples)), **examples.splits}
    kind = task(examples)
    table = Table("class" if kind == "classes" else "labels", box=None, pad_edge=False)
    for name in parts:
        table.add_column(name, justify="right")
    if kind == "classes":
        for number, name in enumerate(examples.classes):
            counts = [int((examples.labels[r] == number).sum()) for r in parts.values()]
            table.add_row(escape(name), *(f"{n:,}" for n in counts))
    elif kind == "numbers":
        for name in ("min", "mean", "max"):
            found = [getattr(examples.labels[r], name)() for r in parts.values()]
            table.add_row(name, *(f"{value:.3f}" for value in found))
    table.add_row("total", *(f"{len(rows):,}" for rows in parts.values()))
    return table


def length_table(texts: Sequence[str]) -> Table:
    """Percentiles of the texts' lengths in characters and words."""
    points = (0, 5, 25, 50, 75, 95, 100)
    table = Table("length", box=None, pad_edge=False)
    for point in points:
        table.add_column(f"{point}%", justify="right")
    for name, measure in (("characters", len), ("words", lambda t: len(t.split()))):
        found = np.percentile([measure(text) for text in texts], points)
        table.add_row(name, *(f"{value:,.0f}" for value in found))
    return table


def samples(console: Console, examples: Examples, count: int) -> None:
    """The first example of each class, or simply the first ones."""
    rows: Any = range(size(examples))
    if task(examples) == "classes":
        rows = np.unique(examples.labels, return_index=True)[1]
    for row in rows[:count]:
        label = examples.labels[row]
        shown = examples.classes[label] if examples.classes else f"{label:.2f}"
        text = " ".join(examples.inputs["text"][row].split())
        short = text if len(text) <= 160 else text[:159] + "…"
        console.print(f"[{shown}] {short}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
