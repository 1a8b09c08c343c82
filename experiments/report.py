"""Table, figures and page of a study, from what it wrote into its workdir.

    python -m experiments.report --workdir runs/bbc [--open]

Writes table.md, table.csv, report.html and the figures (PNG) into the workdir. Of a
workdir of several pairs of domains it is of all of them. A study
that is still running, or stopped, is reported as far as it went.
"""

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments import page, table
from experiments.figures import draw
from experiments.shift import pairs_page, pairs_table
from experiments.shift.pairs_summary import Pairs, is_pairs, read_pairs
from experiments.study import load
from experiments.summary import Summary, summarise
from tl_jax.checkpoint import write_atomic


def build(workdir: str | Path) -> Path:
    """Write table, figures and page; the page's path.

    The same study gives the same bytes. Raises StudyError.
    """
    if is_pairs(workdir):
        return write_pairs(read_pairs(workdir))
    return _write_all(summarise(load(workdir)))


def print_table(workdir: str | Path, console: Console | None = None) -> None:
    """Print the table, with partial results marked. Raises StudyError."""
    console = console or Console()
    console.print(table.terminal(summarise(load(workdir)), console.width))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, or 1 with an error that says what was expected."""
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description=about,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        required=True,
        metavar="DIR",
        help="the directory a study was given as its workdir; holds study.json",
    )
    parser.add_argument(
        "--open", action="store_true", help="show the page in a browser"
    )
    given = parser.parse_args(argv)
    console = Console()
    try:
        if is_pairs(given.workdir):
            pairs = read_pairs(given.workdir)
            path, missing = write_pairs(pairs), []
            console.print(pairs_table.terminal(pairs, console.width))
        else:
            summary = summarise(load(given.workdir))
            path, missing = _write_all(summary), summary.study.missing
            console.print(table.terminal(summary, console.width))
    except (ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    for item in missing:
        console.print(f"missing: {item}", markup=False, highlight=False)
    console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    if given.open:
        webbrowser.open(path.resolve().as_uri())
    return 0


def write_pairs(pairs: Pairs) -> Path:
    """Table, figure and page over several pairs of domains; the page's path."""
    root, figure = pairs.root, pairs_page.gains(pairs)
    figures = [figure] if figure is not None else []
    for drawn in figures:
        write_atomic(root / drawn.file, drawn.png)
    write_atomic(root / "table.md", pairs_table.markdown(pairs))
    write_atomic(root / "table.csv", pairs_table.to_csv(pairs))
    path = root / "report.html"
    write_atomic(path, pairs_page.page(pairs, figures))
    return path


def _write_all(summary: Summary) -> Path:
    root, figures = summary.study.root, draw(summary)
    for figure in figures:
        write_atomic(root / figure.file, figure.png)
    write_atomic(root / "table.md", table.markdown(summary))
    write_atomic(root / "table.csv", table.to_csv(summary))
    path = root / "report.html"
    write_atomic(path, page.page(summary, figures))
    return path


if __name__ == "__main__":
    sys.exit(main())
