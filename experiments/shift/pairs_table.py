"""The table of several pairs of domains: Markdown, CSV, terminal."""

import csv
import io
from typing import Any

from experiments import table
from experiments.shift.pairs_summary import Line, Pair, Pairs

Cells = list[list[str]]


def heads(pairs: Pairs) -> list[str]:
    """What the columns are, in the order of `cells`."""
    own = ["strategy", f"mean {table.words(pairs.metric)}"]
    if pairs.reference is not None:
        own += ["mean gain", "positive / none / negative transfer"]
    return own + [pair.name for pair in pairs.pairs]


def cells(pairs: Pairs) -> Cells:
    """A row a strategy: mean, gain with its interval, verdicts, and each pair."""
    return [_cells(line, pairs) for line in pairs.lines]


def _cells(line: Line, pairs: Pairs) -> list[str]:
    found = [line.title + (" (sees target labels)" if line.opened else "")]
    found.append(table.NOTHING if line.mean is None else table.decimal(line.mean))
    if pairs.reference is not None:
        is_reference = line.name == pairs.reference
        gain = (
            table.NOTHING
            if line.gain is None
            else table.gained(line.gain.value, line.gain)
        )
        found.append("reference" if is_reference else gain)
        counts = f"{line.positive} / {line.none} / {line.negative}"
        found.append(table.NOTHING if is_reference else counts)
    return found + [_score(pair, line.name) for pair in pairs.pairs]


def _score(pair: Pair, strategy: str) -> str:
    row = pair.row(strategy)
    if row is None:
        return table.NOTHING
    return table.spread(row.scores[pair.summary.metric])


def notes(pairs: Pairs) -> list[str]:
    """What a reader must know to read the table."""
    found = ["Each pair: test rows of the target; mean ± deviation over its seeds."]
    if pairs.reference is not None:
        found.append(
            f"Gain: the mean over pairs against {pairs.reference}, with a 95 % t "
            "interval over pairs. Verdicts: of how many pairs the test over test rows "
            "say that it helps, that there is no difference, that it harms."
        )
    left = [pair.name for pair in pairs.pairs if pair.summary is None]
    if left:
        found.append(f"Not begun: {', '.join(left)}.")
    return found


def markdown(pairs: Pairs) -> str:
    """The table in Markdown, with its notes below."""
    top = heads(pairs)
    rows = [top, ["---", *["---:"] * (len(top) - 1)], *cells(pairs)]
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*body, "", *(f"{note}\n" for note in notes(pairs))])


def to_csv(pairs: Pairs) -> str:
    """A line a pair and strategy, every number at full precision."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = ("seeds", "mean", "sd", "gain", "gain_low", "gain_high", "verdict", "p")
    writer.writerow(["source", "target", "strategy", *fields])
    for pair in pairs.pairs:
        for line in pairs.lines:
            if (row := pair.row(line.name)) is None:
                continue
            score = row.scores[pair.summary.metric]
            gain = row.gain_interval
            ends = (gain.low, gain.high) if gain else (None, None)
            said = row.comparison.verdict if row.comparison else None
            said = (said.verdict, said.p) if said else (None, None)
            values = row.done, score.mean, score.sd, row.gain, *ends, *said
            shown = ["" if value is None else value for value in values]
            writer.writerow([pair.source, pair.target, line.name, *shown])
    return file.getvalue()


def terminal(pairs: Pairs, width: int = 120) -> Any:
    """The same table for `rich`; where it is too wide, without single pairs."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    top, rows = heads(pairs), cells(pairs)
    widest = sum(2 + max(len(row[i]) for row in (top, *rows)) for i in range(len(top)))
    kept = len(top) if widest <= width else len(top) - len(pairs.pairs)
    made = Table(
        title=Text(str(pairs.info.get("name", pairs.root.name))),
        caption=Text("\n".join(notes(pairs))),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for i, head in enumerate(top[:kept]):
        made.add_column(Text(head), justify="right" if i else "left")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row[:kept]))
    return made
