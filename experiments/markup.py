"""Pieces of a page that needs nothing beside it: its frame, tables, figures."""

import base64
import html
from collections.abc import Iterable
from typing import Any

from experiments.canvas import DPI, Figure

SHOWN_DPI = 104
"""Images are stored finer than they are shown, for sharp screens."""
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


def framed(title: str, body: str) -> str:
    """A page of that title around the HTML of `body`."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def escaped(value: Any) -> str:
    return html.escape(str(value), quote=True)


def shown_rows(
    heads: Iterable[tuple[str, bool]], rows: Iterable[tuple[str, Iterable[str]]]
) -> str:
    """A table from (heading, is a number) and (class, cells of HTML)."""
    heads = list(heads)
    align = [' class="number"' if number else "" for _, number in heads]
    top = [
        f'<th scope="col"{a}>{escaped(h)}</th>'
        for (h, _), a in zip(heads, align, strict=True)
    ]
    lines = [f"<tr>{''.join(top)}</tr>"]
    for kind, cells in rows:
        cells = "".join(f"<td{a}>{c}</td>" for c, a in zip(cells, align, strict=True))
        lines.append(
            f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>"
        )
    return f'<div class="wide"><table>\n{chr(10).join(lines)}\n</table></div>'


def shown_figure(figure: Figure | None) -> str:
    """A figure with its caption; nothing of None."""
    if figure is None:
        return ""
    data = base64.b64encode(figure.png).decode()
    width = int.from_bytes(figure.png[16:20]) * SHOWN_DPI // DPI  # of the IHDR chunk
    return (
        f'<figure><img alt="{escaped(figure.alt)}" width="{width}" '
        f'src="data:image/png;base64,{data}">'
        f"<figcaption>{escaped(figure.caption)}</figcaption></figure>"
    )
