"""Data sets by name: list them, fetch them, look into one.

    python -m experiments.data list
    python -m experiments.data fetch bbc vader/film
    python -m experiments.data show bbc
    python -m experiments.data show photos/ --out sheet.png

`show` also takes a folder with a sub-folder a class, a file, or tfds:NAME. Of pictures
it writes a contact sheet; damaged ones are left out and named.
Downloads go to `TL_JAX_CACHE`, else `~/.cache/tl_jax`, and are made once.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from experiments import look
from experiments.sheet import PER_CLASS, contact_sheet, sheet_file
from experiments.sources import from_source
from tl_jax import assets, checkpoint
from tl_jax.data.catalogue import Entry, catalogue, find
from tl_jax.data.sources import size, task

TEXTS = 3
"""Samples shown of a data set of texts."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 for a bad name or file, 1 where a file is not to be had."""
    given = parser().parse_args(argv)
    console = Console()
    try:
        given.run(console, given)
    except (assets.Unavailable, assets.Damaged) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
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
    one = commands.add_parser(
        "show", help="classes, splits, lengths or sizes, and samples"
    )
    one.add_argument(
        "name", metavar="NAME", help="as `list` shows it, a folder, a file, tfds:NAME"
    )
    one.add_argument(
        "--samples",
        type=_some,
        help=f"texts shown (default {TEXTS}), or pictures a class ({PER_CLASS})",
    )
    one.add_argument(
        "--out", type=Path, help="PNG of sample pictures (default NAME-sheet.png)"
    )
    one.set_defaults(run=show)
    return top


def _some(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}, expected 1 to 100")
    return int(text)


def list_all(console: Console, given: argparse.Namespace) -> None:
    """A table of the catalogue."""
    table = Table("name", "task", box=None, pad_edge=False)
    for column in ("examples", "classes", "MB"):
        table.add_column(column, justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("cached")
    for name, entry in catalogue().items():
        total = sum(asset.megabytes for asset in entry.assets)
        megabytes = f"{total:g}" if entry.assets else "-"
        counts = f"{entry.examples:,}", str(entry.classes or "-"), megabytes
        table.add_row(name, entry.task, *counts, entry.licence, cached(entry))
    console.print(table)


def cached(entry: Entry) -> str:
    """Whether loading needs a download: `yes`, `no`, or `built in`."""
    if not entry.assets:
        return "built in"
    return "yes" if all(map(assets.is_cached, entry.assets)) else "no"


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
        if not entry.assets:
            console.print(f"{name}: built in, nothing to fetch")
        for asset in entry.assets:
            folder = fetched(console, asset)
            console.print(f"{name}: {folder}", markup=False, soft_wrap=True)


def fetched(console: Console, asset: assets.Asset) -> Any:
    """The folder of an asset, with progress and licence shown at first use."""
    with downloads(console) as progress:
        return assets.fetch(asset, report=_say(console), progress=progress)


def _say(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, markup=False, soft_wrap=True)


def show(console: Console, given: argparse.Namespace) -> None:
    """Counts, licence, lengths or sizes, and samples of one data set.

    Of pictures the samples are a contact sheet in a file. Raises ValueError where
    there are no pictures for `--out`.
    """
    entry = catalogue().get(given.name)
    for asset in () if entry is None else entry.assets:
        fetched(console, asset)
    examples = from_source(given.name, "data set", damaged="skip", report=_say(console))
    pictures = examples.inputs.get("image")
    if given.out is not None and pictures is None:
        raise ValueError(f"--out {given.out}: {given.name!r} holds no pictures")
    out = sheet_file(given.out, examples.name)
    head = f"{examples.name}: {size(examples):,} examples, task {task(examples)}"
    console.print(head, style="bold", markup=False)
    console.print(f"licence: {examples.licence}", markup=False)
    for note in examples.notes:
        console.print(f"note: {note}", markup=False)
    for name, column in examples.inputs.items():
        console.print(look.column_line(name, column), markup=False)
    console.print(look.label_table(examples))
    if pictures is not None:
        look.tell_pictures(console, pictures)
        checkpoint.write_atomic(
            out, contact_sheet(examples, given.samples or PER_CLASS)
        )
        _say(console)(f"contact sheet: {out}")
    elif "text" in examples.inputs:
        console.print(look.length_table(examples.inputs["text"]))
        look.samples(console, examples, given.samples or TEXTS)


if __name__ == "__main__":
    sys.exit(main())
