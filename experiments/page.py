"""The page of a study: one HTML file that needs nothing beside it."""

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from experiments import table
from experiments.canvas import Figure
from experiments.markup import escaped, framed, shown_figure, shown_rows
from experiments.shift import selection
from experiments.summary import Summary, best, ended, episodes_said

CLASSES = 30
"""Names of classes that are listed."""


def page(summary: Summary, figures: Sequence[Figure]) -> str:
    """The whole page; the same bytes for the same study."""
    info = summary.study.info
    name = str(info.get("name", summary.study.root.name))
    known = {figure.file: figure for figure in figures}
    parts = [
        f"<h1>{escaped(name)}</h1>",
        f'<p class="headline">{_unbroken(headline(summary))}</p>',
        _partial(summary),
        _section(
            "Results", _table(summary), shown_figure(known.pop("scores.png", None))
        ),
        _section("Choosing without target labels", *_selection(summary, known)),
        *(_section(f.title, shown_figure(f)) for f in known.values()),
        _section("Every seed", _seeds(summary)),
        _section("What moves: the plans", _plans(summary)),
        _section("Data", _data(summary)),
        _section("How to run it again", *_origin(info)),
    ]
    return framed(name, "\n".join(part for part in parts if part))


def headline(summary: Summary) -> str:
    """The best strategy, its score, and its gain over the reference."""
    row, metric, base = summary.best, summary.metric, summary.reference
    if row is None:
        return "No run has ended yet."
    tops = "highest" if summary.higher_is_better else "lowest"
    value = table.spread(row.scores[metric])
    seeds = f"{row.done} seed{'s' if row.done != 1 else ''}"
    said = f"{row.title} has the {tops} test {table.words(metric)}: {value} ({seeds})"
    if base is not None and row.name == base.name:
        others = [r for r in summary.rows if r.done and r.name != base.name]
        return said + (". No strategy beats this reference." if others else ".")
    if base is not None and row.gain is not None:
        said += f", {table.signed(row.gain)} against {base.title}"
        said += f" ({table.spread(base.scores.get(metric))})"
        said += " on the seeds that both have" if row.done != base.done else ""
        outcome = row.comparison.verdict if row.comparison else None
        if outcome is not None:
            kind = {"positive": "positive transfer", "negative": "negative transfer"}
            word = kind.get(outcome.verdict, "no significant difference")
            said += f": {word}, {table.p_value(outcome.p)}"
    said += "."
    chosen = best(ended(summary.rows), metric, summary.higher_is_better, "validation")
    if chosen is not None and chosen.name != row.name:
        said += f" By its validation score one would have chosen {chosen.title}."
    return said


def _unbroken(text: str) -> str:
    """Escaped, with numbers kept together with their signs."""
    for sign in ("±", "<", "="):
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    return escaped(text)


def _section(title: str, *parts: str) -> str:
    """A heading with what it holds; nothing if that is nothing."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escaped(title)}</h2>\n{body}\n</section>" if body else ""


def _partial(summary: Summary) -> str:
    """What is missing, if anything is."""
    missing = summary.study.missing
    if not missing:
        return ""
    done = sum(row.done for row in summary.rows)
    expected = sum(row.expected for row in summary.rows)
    items = "".join(f"<li>{escaped(item)}</li>" for item in missing)
    first = f"{done} of {expected} runs have ended."
    title = "Partial results" if summary.partial else "Some files are missing"
    return (
        f'<div class="partial"><p><strong>{title}.</strong> {first}</p>'
        f"<ul>{items}</ul></div>"
    )


def _table(summary: Summary) -> str:
    """The table of the study, with its notes."""
    columns, top = table.columns(summary), summary.best
    rows = []
    for row in summary.rows:
        cells = [escaped(column.cell(row)) for column in columns]
        if row.note:
            cells[0] += f'<span class="note">{escaped(row.note)}</span>'
        outcome = row.comparison.verdict if row.comparison else None
        if outcome is not None and outcome.verdict in ("positive", "negative"):
            cells[-1] = f'<span class="{outcome.verdict}">{cells[-1]}</span>'
        rows.append(("best" if top and top.name == row.name else "", cells))
    notes = "".join(f"<p>{escaped(note)}</p>" for note in table.notes(summary))
    body = shown_rows([(c.heading, c.number) for c in columns], rows)
    return f'{body}\n<div class="notes">{notes}</div>'


def _selection(summary: Summary, known: dict[str, Figure]) -> list[str]:
    """How label-free scores rank the runs of two domains; its figure is taken."""
    found = selection.models(summary)
    if found is None:
        return []
    heads, rows = selection.cells(found)
    said = "".join(f"<p>{escaped(note)}</p>" for note in selection.notes(found))
    body = shown_rows(heads, [("", [escaped(cell) for cell in row]) for row in rows])
    drawn = shown_figure(known.pop("selectors.png", None))
    return [f'{body}\n<div class="notes">{said}</div>', drawn]


def _seeds(summary: Summary) -> str:
    """A line for each run that has ended, with its intervals."""
    heads = [("strategy", False), ("seed", True)]
    heads += [(f"test {table.words(metric)}", True) for metric in summary.metrics]
    chosen = any("validation" in r.result for r in _results(summary))
    heads += [(f"validation {table.words(summary.metric)}", True)] if chosen else []
    heads += [("best step", True), ("seconds", True), ("of it compiling", True)]
    rows = []
    for row in summary.rows:
        for run in summary.study.runs[row.name]:
            if run.result is None:
                continue
            test = run.result["test"]
            cells = [row.title, run.seed]
            ends = test.get("intervals") or {}
            cells += [_value(test.get(m), ends.get(m)) for m in summary.metrics]
            validation = run.result.get("validation") or {}
            cells += [_value(validation.get(summary.metric))] if chosen else []
            cells.append(run.result.get("best_step", table.NOTHING))
            for key in ("seconds", "compile_seconds"):
                cells.append(_value(run.result.get(key), digits=1))
            rows.append(("", [escaped(cell) for cell in cells]))
    note = f"In brackets: 95 % bootstrap interval over test {summary.units}."
    note = f'<p class="notes">{note}</p>'
    return shown_rows(heads, rows) + note if rows else ""


def _results(summary: Summary) -> list:
    return [r for runs in summary.study.runs.values() for r in runs if r.result]


def _value(value: Any, ends: Any = None, digits: int = 0) -> str:
    """A number, with its interval where there is one."""
    if not isinstance(value, (int, float)):
        return table.NOTHING
    said = f"{value:.{digits}f}" if digits else table.decimal(value)
    if isinstance(ends, list) and len(ends) == 2:
        said += f" [{table.decimal(ends[0])}, {table.decimal(ends[1])}]"
    return said


def _plans(summary: Summary) -> str:
    """Each strategy's plan, of its first seed that wrote one."""
    found = []
    for row in summary.rows:
        plans = [run.plan for run in summary.study.runs[row.name] if run.plan]
        if plans:
            label = f"{escaped(row.title)} · {escaped(table.trainable(row))} trainable"
            found.append(
                f"<details><summary>{label}</summary>"
                f"<pre>{escaped(plans[0].rstrip())}</pre></details>"
            )
    return "\n".join(found)


def _data(summary: Summary) -> str:
    """Name, licence, sizes, classes, and whether target labels were seen."""
    info = summary.study.info
    data = info.get("data") or {}
    pairs = [(key.replace("_", " "), _plain(value)) for key, value in data.items()]
    classes = info.get("classes")
    if classes:
        more = len(classes) - CLASSES
        said = ", ".join(map(str, classes[:CLASSES]))
        said += f" and {more:,} more" if more > 0 else ""
        pairs.append(("classes", f"{len(classes):,}: {said}"))
    if summary.units == "episodes":
        pairs.append(("episodes", episodes_said(info)))
    if "opened_target_labels" in info:
        seen = info["opened_target_labels"] or []
        said = f"opened by {', '.join(seen)}" if seen else "not opened"
        pairs.append(("target labels", said))
    return _pairs(pairs)


def _origin(info: dict[str, Any]) -> list[str]:
    """Command, machine, versions and config."""
    command = info.get("command")
    said = shlex.join(map(str, command)) if isinstance(command, list) else command
    pairs = [
        (key, _plain(info[key])) for key in ("machine", "started") if info.get(key)
    ]
    pairs.append(("seeds", ", ".join(map(str, info["seeds"]))))
    versions = info.get("versions") or {}
    if versions:
        pairs.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    config = json.dumps(info.get("config") or {}, indent=2, ensure_ascii=False)
    return [
        f'<pre class="command">{escaped(said)}</pre>' if said else "",
        _pairs(pairs),
        f"<details><summary>Config</summary><pre>{escaped(config)}</pre></details>"
        if info.get("config")
        else "",
    ]


def _plain(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in pairs)
    return f"<dl>{items}</dl>" if items else ""
