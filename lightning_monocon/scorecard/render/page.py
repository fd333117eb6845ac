# SPDX-License-Identifier: Apache-2.0
"""The scorecard as one HTML page that needs nothing else: no network, no script, figures inside."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.sentences import (
    LEGEND,
    best_lines,
    bottom_line,
    byte_lines,
    effect_lines,
    headline,
    null_lines,
    rule_lines,
    title,
    verdict_lines,
)
from lightning_monocon.scorecard.render.tables import BEST, TIED, Table, accuracy_table, frontier_table, shape_table
from lightning_monocon.scorecard.render.text import CAUSES, NULLS, other_rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #111; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #999; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; margin: 1rem 0; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #111; vertical-align: bottom; }
tbody tr + tr td, tbody tr + tr th { border-top: 1px solid #ddd; }
th:first-child { text-align: left; }
tbody th { border-bottom: 0; font-weight: 600; vertical-align: middle; }
td.best { font-weight: 700; outline: 2px solid #111; outline-offset: -3px; }
td.tied { font-weight: 700; }
td.word { white-space: normal; }
.bottom { border-left: .3rem solid #111; padding: .2rem 0 .2rem .8rem; font-size: 1.05rem; }
figure { margin: 1.5rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; }
figcaption, .note { color: #444; font-size: .875rem; }
dt { font-weight: 700; margin-top: .7rem; }
dd { margin-left: 1.2rem; }
.origin { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; font-size: .875rem; color: #444; }
.origin dt, .origin dd { margin: 0; }
.origin dd { overflow-wrap: anywhere; }
"""


_MARKS = '<p class="note">Framed: best at this size. Bold: within the noise of the best.</p>'


def as_html(card: Scorecard, figures: Mapping[str, Figure], captions: Mapping[str, str]) -> str:
    """The page; open it from anywhere.

    Args:
        card: the scorecard.
        figures: by file name.
        captions: by the same names; also what a reader hears who cannot see the figure.
    """
    parts = [
        f"<h1>{escape(title(card))}</h1>",
        f'<p class="bottom">{_prose(bottom_line(card))}</p>',
        f"<p>{_prose(headline(card))}</p>",
        _origin(card),
        "<h2>Verdicts</h2>",
        _definitions(verdict_lines(card)),
        "<h2>Best at each size</h2>",
        _listed(best_lines(card)),
        _table(frontier_table(card)),
        _MARKS,
        _chapter("Best at each number of bytes", _listed(byte_lines(card))),
        "<h2>Figures behind the verdicts</h2>",
        _table(accuracy_table(card)),
        _table(shape_table(card)),
        *(_figure(figure, captions[name]) for name, figure in figures.items()),
        _chapter("Constraint against initialisation", _listed(effect_lines(card)), f"<p>{CAUSES}</p>"),
        _chapter(other_rule(card), _listed(rule_lines(card)), *_other_table(card)),
        f"<h2>Null models</h2><p>{NULLS}</p>",
        _definitions(null_lines(card)),
        "<h2>How to read this</h2>",
        _listed(LEGEND),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title(card))}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _prose(text: str) -> str:
    """Sentences for the page, in which no line ends between a number and its per cent sign."""
    return re.sub(r"(?<=\d) %", "&nbsp;%", escape(text))


def _chapter(title: str, body: str, *rest: str) -> str:
    """A heading with what belongs to it; nothing without a body."""
    return "\n".join([f"<h2>{escape(title)}</h2>", body, *rest]) if body else ""


def _other_table(card: Scorecard) -> tuple[str, ...]:
    return (_table(frontier_table(card.alternative)), _MARKS) if card.alternative else ()


def _origin(card: Scorecard) -> str:
    """Data, recipe, encoder, date and command; nothing where the card does not know them."""
    lines = card.origin.lines() if card.origin else []
    pairs = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
    return f'<dl class="origin">{pairs}</dl>' if pairs else ""


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "\n".join(f"<tr>{_row(row)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<th scope="row">{escape(first)}</th>' + "".join(map(_cell, others))


def _cell(text: str) -> str:
    kinds = {BEST: ' class="best"', TIED: ' class="tied"'}
    kind = kinds.get(text[-1:], ' class="word"' if text[:1].isalpha() and " " in text else "")
    return f"<td{kind}>{escape(text.rstrip(BEST + TIED))}</td>"


def _definitions(lines: Sequence[str]) -> str:
    """Lines "name: word, and what is said of it" as a definition list, the word in bold."""
    items = []
    for line in lines:
        name, _, said = line.partition(": ")
        word = re.match(r"[\w -]*\w", said)
        bold = word.group() if word else ""
        items.append(f"<dt>{escape(name)}</dt><dd><b>{escape(bold)}</b>{_prose(said[len(bold) :])}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _listed(lines: Sequence[str]) -> str:
    return "" if not lines else f"<ul>{''.join(f'<li>{_prose(line)}</li>' for line in lines)}</ul>"


def _figure(figure: Figure, caption: str) -> str:
    """A figure as an SVG inside an image tag, so that the ids of two figures cannot meet."""
    from matplotlib import rc_context

    drawing = io.BytesIO()
    # A fixed salt and no date: the same scorecard gives the same bytes.
    with rc_context({"svg.hashsalt": "scorecard", "svg.fonttype": "path"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    data = base64.b64encode(drawing.getvalue()).decode("ascii")
    text = escape(caption, quote=True)
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
