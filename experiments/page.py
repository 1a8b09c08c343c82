"""The page of a study: one HTML file that needs nothing beside it."""

import base64
import html
import json
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from experiments import table
from experiments.canvas import DPI, Figure
from experiments.summary import Summary, best, ended, episodes_said

SHOWN_DPI = 104
"""Images are stored finer than they are shown, for sharp screens."""
CLASSES = 30
"""Names of classes that are listed."""
CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #dfe3e8;
  --paper: #fff; --shade: #f5f7f9; --good: #00684a; --bad: #a33a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3acb8;
  --line: #363c45; --paper: #15181c; --shade: #1e2228; --good: #4cc79b;
  --bad: #f0986a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.1rem; font-weight: 600; color: var(--soft); margin: 0; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; }
.headline { font-size: 1.5rem; line-height: 1.35; margin: .5rem 0 1rem;
  max-width: 48rem; text-wrap: pretty; }
.partial { border-left: 4px solid var(--bad); background: var(--shade);
  padding: .6rem 1rem; margin: 1rem 0; }
.partial p, .partial ul { margin: .2rem 0; }
.notes, figcaption { color: var(--soft); font-size: .875rem; }
.notes { max-width: 48rem; }
.notes p { margin: .25rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .925rem; min-width: 100%; }
th, td { padding: .4rem .75rem .4rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .82rem; vertical-align: bottom; }
td { white-space: nowrap; font-variant-numeric: tabular-nums; }
td:first-child { white-space: normal; min-width: 8rem; }
.number { text-align: right; }
.best td { font-weight: 650; }
.note { display: block; color: var(--soft); font-size: .82rem; font-weight: 400; }
.positive { color: var(--good); } .negative { color: var(--bad); }
figure { margin: 1rem 0 0; }
img { max-width: 100%; height: auto; display: block; background: #fff;
  border-radius: 4px; }
details { border-bottom: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; }
pre { background: var(--shade); padding: .8rem 1rem; overflow-x: auto; margin: .5rem 0;
  font: .82rem/1.5 ui-monospace, Menlo, Consolas, monospace; border-radius: 4px; }
pre.command { user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.25rem;
  margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def page(summary: Summary, figures: Sequence[Figure]) -> str:
    """The whole page; the same bytes for the same study."""
    info = summary.study.info
    name = str(info.get("name", summary.study.root.name))
    known = {figure.file: figure for figure in figures}
    parts = [
        f"<h1>{_text(name)}</h1>",
        f'<p class="headline">{_unbroken(headline(summary))}</p>',
        _partial(summary),
        _section(
            "Results", _table(summary), shown_figure(known.pop("scores.png", None))
        ),
        *(_section(f.title, shown_figure(f)) for f in known.values()),
        _section("Every seed", _seeds(summary)),
        _section("What moves: the plans", _plans(summary)),
        _section("Data", _data(summary)),
        _section("How to run it again", *_origin(info)),
    ]
    return framed(name, "\n".join(part for part in parts if part))


def framed(title: str, body: str) -> str:
    """A page of that title around the HTML of `body`."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


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


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _unbroken(text: str) -> str:
    """Escaped, with numbers kept together with their signs."""
    for sign in ("±", "<", "="):
        text = text.replace(f" {sign} ", f"\N{NO-BREAK SPACE}{sign}\N{NO-BREAK SPACE}")
    return _text(text)


def _section(title: str, *parts: str) -> str:
    """A heading with what it holds; nothing if that is nothing."""
    body = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{_text(title)}</h2>\n{body}\n</section>" if body else ""


def _partial(summary: Summary) -> str:
    """What is missing, if anything is."""
    missing = summary.study.missing
    if not missing:
        return ""
    done = sum(row.done for row in summary.rows)
    expected = sum(row.expected for row in summary.rows)
    items = "".join(f"<li>{_text(item)}</li>" for item in missing)
    first = f"{done} of {expected} runs have ended."
    title = "Partial results" if summary.partial else "Some files are missing"
    return (
        f'<div class="partial"><p><strong>{title}.</strong> {first}</p>'
        f"<ul>{items}</ul></div>"
    )


def shown_rows(
    heads: Iterable[tuple[str, bool]], rows: Iterable[tuple[str, Iterable[str]]]
) -> str:
    """A table from (heading, is a number) and (class, cells of HTML)."""
    heads = list(heads)
    align = [' class="number"' if number else "" for _, number in heads]
    top = [
        f'<th scope="col"{a}>{_text(h)}</th>'
        for (h, _), a in zip(heads, align, strict=True)
    ]
    lines = [f"<tr>{''.join(top)}</tr>"]
    for kind, cells in rows:
        cells = "".join(f"<td{a}>{c}</td>" for c, a in zip(cells, align, strict=True))
        lines.append(
            f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"
        )
    return f'<div class="wide"><table>\n{chr(10).join(lines)}\n</table></div>'


def _table(summary: Summary) -> str:
    """The table of the study, with its notes."""
    columns, top = table.columns(summary), summary.best
    rows = []
    for row in summary.rows:
        cells = [_text(column.cell(row)) for column in columns]
        if row.note:
            cells[0] += f'<span class="note">{_text(row.note)}</span>'
        outcome = row.comparison.verdict if row.comparison else None
        if outcome is not None and outcome.verdict in ("positive", "negative"):
            cells[-1] = f'<span class="{outcome.verdict}">{cells[-1]}</span>'
        rows.append(("best" if top and top.name == row.name else "", cells))
    notes = "".join(f"<p>{_text(note)}</p>" for note in table.notes(summary))
    body = shown_rows([(c.heading, c.number) for c in columns], rows)
    return f'{body}\n<div class="notes">{notes}</div>'


def shown_figure(figure: Figure | None) -> str:
    """A figure with its caption; nothing of None."""
    if figure is None:
        return ""
    data = base64.b64encode(figure.png).decode()
    width = int.from_bytes(figure.png[16:20]) * SHOWN_DPI // DPI  # of the IHDR chunk
    return (
        f'<figure><img alt="{_text(figure.alt)}" width="{width}" '
        f'src="data:image/png;base64,{data}">'
        f"<figcaption>{_text(figure.caption)}</figcaption></figure>"
    )


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
            rows.append(("", [_text(cell) for cell in cells]))
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
            label = f"{_text(row.title)} · {_text(table.trainable(row))} trainable"
            found.append(
                f"<details><summary>{label}</summary>"
                f"<pre>{_text(plans[0].rstrip())}</pre></details>"
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
        f'<pre class="command">{_text(said)}</pre>' if said else "",
        _pairs(pairs),
        f"<details><summary>Config</summary><pre>{_text(config)}</pre></details>"
        if info.get("config")
        else "",
    ]


def _plain(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in pairs)
    return f"<dl>{items}</dl>" if items else ""
