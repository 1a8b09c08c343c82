"""Time tl_jax against its peers, paired and interleaved, on this machine.

    python -m experiments.benchmarks
    python -m experiments.benchmarks --rows lora,full --rounds 7 --out runs/benchmarks
    python -m experiments.benchmarks --device gpu --out runs/benchmarks_gpu

Each side runs in a process of its own, is warmed up, and takes its turn in every
round. A round that another process disturbed is thrown away and repeated. The folder
gets results.json, table.md, pages/<row>.md and logs/ of all processes; what is there
of rows that were not asked for stays. Without torch our side is timed alone; the
peers come with: pip install -e '.[parity]'. learn2learn can't be installed for this
Python; its source will do, unpacked into a folder on PYTHONPATH.

Exit codes: 0 done, 1 a side failed (the table says how), 2 a bad flag or row.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks import tables
from experiments.benchmarks.accelerator import CHOICES
from experiments.benchmarks.client import INSTALL
from experiments.benchmarks.kinds import Row
from experiments.benchmarks.measure import Settings, measure
from experiments.benchmarks.rows import ROWS


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks",
        description=__doc__,
        epilog="rows:\n" + listing(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = top.add_argument
    add("--rows", help="names, with commas between them (all of them by default)")
    add("--rounds", type=_positive, default=7, help="undisturbed rounds of each (7)")
    add("--attempts", type=_positive, help="rounds at most (3 times --rounds)")
    add("--warm", type=_positive, default=3, help="untimed calls before them (3)")
    add(
        "--out", type=Path, default=Path("runs/benchmarks"), help="folder of the output"
    )
    where = "the CPU (default), or the first GPU: float32 in TF32, its memory's peak"
    add("--device", choices=CHOICES, default="cpu", help=where)
    keep = "count disturbed rounds, too: for trying things out, never for figures"
    add("--keep-disturbed", action="store_true", help=keep)
    add("--list", action="store_true", help="name the rows and what they do, then end")
    return top


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def listing() -> str:
    """Each row's name and title on a line."""
    wide = max(map(len, ROWS))
    return "\n".join(f"  {name:{wide}}  {row.title}" for name, row in ROWS.items())


def chosen(names: str | None) -> list[Row]:
    """The rows of a list of names; raises `NoMatch` with the nearest."""
    if not names:
        return list(ROWS.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in ROWS:
            from tl_jax.tree import no_match

            raise no_match("--rows", name, ROWS)
    return [ROWS[name] for name in dict.fromkeys(wanted)]


def run(rows: Sequence[Row], settings: Settings, out: Path) -> list[dict[str, Any]]:
    """Measure the rows one by one; each is written as soon as it is done."""
    results = read(out)
    for row in rows:
        results[row.name] = measure(row, settings, out / "logs")
        results = {name: results[name] for name in ordered(results)}
        write(results, out)
    return [results[row.name] for row in rows]


def ordered(names: Iterable[str]) -> list[str]:
    """Known rows in the table's order, then others."""
    known = list(ROWS)
    return sorted(names, key=lambda n: known.index(n) if n in ROWS else len(known))


def read(out: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run, by name; raises ValueError for a damaged file."""
    file = out / "results.json"
    if not file.is_file():
        return {}
    try:
        return {row["name"]: row for row in json.loads(file.read_text())["rows"]}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error!r}); move it away") from None


def write(results: dict[str, dict[str, Any]], out: Path) -> None:
    """results.json, table.md and a page a row."""
    rows = list(results.values())
    (out / "pages").mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps({"rows": rows}, indent=1))
    (out / "table.md").write_text(tables.table(rows))
    for row in rows:
        (out / "pages" / f"{row['name']}.md").write_text(tables.page(row))


def main(argv: Sequence[str] | None = None) -> int:
    """The whole command; its exit code."""
    given = parser().parse_args(argv)
    if given.list:
        print(listing())
        return 0
    try:
        rows = chosen(given.rows)
        read(given.out)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    attempts = given.attempts or 3 * given.rounds
    settings = Settings(given.rounds, attempts, given.warm, given.keep_disturbed)
    settings = settings._replace(device=given.device)
    results = run(rows, settings, given.out)
    print(tables.table(results))
    sides = [side for result in results for side in result["sides"]]
    if any(INSTALL in (side["missing"] or "") for side in sides):
        print(f"Peers that are not installed come with: {INSTALL}")
    print(f"Written: {given.out}/table.md, results.json, pages/, logs/")
    return 1 if any(side["failed"] for side in sides) else 0


if __name__ == "__main__":
    sys.exit(main())
