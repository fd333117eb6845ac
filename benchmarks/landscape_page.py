# SPDX-License-Identifier: Apache-2.0
"""Write docs/research/landscape.md once more as a page of HTML with the look of the scorecard, and the runs' curves.

A segment of the page is what lies between two tables; it gets the table that follows it, and each sweep its figure.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_monocon.runs.files import write_text
from lightning_monocon.scorecard.render.figures.style import legend_above, line_style, new_figure
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.page import page
from lightning_monocon.scorecard.render.sentences import Sentence
from lightning_monocon.scorecard.render.tables import Table
from lightning_monocon.watching.curves import FEW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = Mapping[str, Any]

SWEEPS = {
    "sums": "Sums: by share of all pairs that are trained on",
    "far": "Sums at a constant rate, larger train sets",
    "near": "Sums at a constant rate, smaller train sets",
    "parity": "Parities: by number of train strings",
    "strings": "Parities over 10 000 steps, smaller train sets",
    "sizes": "Parities over 10 000 steps, more train sets",
    "fewer": "Parities over 40 000 steps, the smallest train sets",
    "barriers": "Parities by SGD: by size of the minibatch",
    "parities": "Two parities at once",
    "width": "Parities: by hidden units",
    "noise": "Fashion-MNIST: by share of wrong labels and weight decay",
}
_ROLES = {"train": "trained on", "held_out": "held out"}
_MARKS = {
    **{"memorisation": "v", "grokking": "*", "comprehension": "^", "gradual_generalisation": "D", "drift": "x"},
    **{"overfitting": "<", "noise_memorisation": "P", "jump": ">", "instability": "o"},
}
_EDGE = 1.07


def write_html(source: Path, lines: Sequence[Line]) -> Path:
    """Write the page beside its source, and return its path."""
    figures = {
        f"{name}.svg": curves(of) for name in SWEEPS if (of := [each for each in lines if each["sweep"] == name])
    }
    report = as_outline(source.read_text(encoding="utf-8"), {name: SWEEPS[name.partition(".")[0]] for name in figures})
    target = source.with_suffix(".html")
    write_text(target, page(report, figures))
    return target


def curves(lines: Sequence[Line]) -> Figure:
    """Draw the credences of the runs of a sweep by step: a panel a point of its grid, a line a role and a seed."""
    points: dict[str, list[Line]] = {}
    for line in lines:
        points.setdefault(line["run"].rpartition(",seed=")[0], []).append(line)
    columns = min(3, len(points))
    rows = math.ceil(len(points) / columns)
    figure, panels = new_figure(rows, columns=columns, width=11.0, height=1.0 + 2.6 * rows)
    for place, (panel, (name, runs)) in enumerate(zip(panels, sorted(points.items(), key=_order), strict=False)):
        for run in runs:
            _draw_run(panel, run)
        panel.set(xscale="log", ylim=(0, _EDGE))
        panel.set(ylabel="mean credence" if place % columns == 0 else "")
        panel.set(xlabel="step" if place + columns >= len(points) else "")
        panel.set_yticks([0, 0.5, 1])
        panel.set_title(name, fontsize=9, pad=9)
    for panel in panels[len(points) :]:
        panel.set_visible(False)
    legend_above(figure, *panels[: len(points)], order=[*_ROLES.values()])
    return figure


def _order(item: tuple[str, list[Line]]) -> list[float]:
    return [float(value) for value in re.findall(r"[\d.]+", item[0])]


def _draw_run(panel: Axes, run: Line) -> None:
    steps = np.maximum(np.asarray(run["steps"], dtype=float), 0.5)  # the first evaluation is at step 0
    for index, (role, label) in enumerate(_ROLES.items()):
        style = {name: value for name, value in line_style(index).items() if name in ("color", "linestyle")}
        if len(steps) < FEW:
            style |= {"marker": "o", "markersize": 3}
        panel.plot(steps, run[f"credence/{role}"], label=label, lw=1.1, **style)
    for kind, _, entered in run["events"]:
        if kind in _MARKS and entered is not None:
            colour = line_style(2 + [*_MARKS].index(kind))["color"]
            style = {"ls": "", "ms": 6, "color": colour, "clip_on": False}
            panel.plot([max(entered, 0.5)], [_EDGE], marker=_MARKS[kind], label=kind, **style)


class _Segment(NamedTuple):
    """Hold a part of a section: what it says, its table, and the name of the table."""

    words: list[str]
    table: Table | None
    name: str


def as_outline(text: str, captions: Mapping[str, str]) -> Outline:
    """Return a page of Markdown as a report, with each figure behind the first table about its sweep."""
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    title, _, lead = head.partition("\n")
    opening, left = [*segments(lead)], dict(captions)
    sections = [_section("In short", segment._replace(words=[]), {}) for segment in opening if segment.table]
    for part in parts:
        name, _, body = part.partition("\n")
        first = len(sections)
        for segment in segments(body):
            own = _own_words(segment)
            if len(sections) > first and len(own) < len(segment.words):
                remarks = segment.words[: len(segment.words) - len(own)]
                sections[-1] = _with_words(sections[-1], remarks)
                segment = segment._replace(words=own)
            if segment.table or segment.words:
                about = _ABOUT.get(segment.name.rpartition(" ")[2], "") if len(sections) > first else ""
                sections.append(_section(f"{name}: {about}" if about else name, segment, left))
    if left:
        rest = [(name, f"{_CAPTION} {told}.") for name, told in left.items()]
        sections.append(Section("Further curves", figures=rest))
    summary = [Sentence("", _plain(words)) for segment in opening for words in segment.words]
    return Outline(_plain(title.removeprefix("# ")), summary, (), sections)


def _own_words(segment: _Segment) -> list[str]:
    """Return the words that introduce a segment's table: the last ones, if they end in a colon."""
    if segment.table and segment.words and segment.words[-1].endswith(":"):
        return segment.words[-1:]
    return []


def _section(title: str, segment: _Segment, left: dict[str, str]) -> Section:
    """Return a segment as a section with the figures of its sweep, which are taken out of ``left``."""
    sweep = segment.name.split()[-1:] if segment.table else []
    shown = [name for name in left if name.partition(".")[0] in _FIGURES.get("".join(sweep), sweep)]
    figures = [(name, f"{_CAPTION} {left.pop(name)}.") for name in shown]
    sentences = [Sentence("", _plain(words)) for words in segment.words]
    if segment.table is None or _is_short(segment.table):
        return Section(title, "", sentences, [segment.table] if segment.table else [], figures)
    return Section(title, "", [*sentences, *_as_sentences(segment.table)], [], figures)


def _with_words(section: Section, words: Sequence[str]) -> Section:
    return replace(section, sentences=[*section.sentences, *(Sentence("", _plain(each)) for each in words)])


def _is_short(table: Table) -> bool:
    """Return whether the rows of a table fit a line."""
    return max(sum(len(str(cell)) for cell in row) for row in table.rows) <= _WIDEST


def _as_sentences(table: Table) -> Iterator[Sentence]:
    """Yield the rows of a table of sentences as entries of a list."""
    for first, *others in table.rows:
        parts = [f"{name}: {cell}" for name, cell in zip(table.header[1:], others, strict=True)]
        yield Sentence(str(first), ". ".join(parts) + ".")


_WIDEST = 110
"""Letters of a row; a table of more is a list on the page, where no cell breaks its line."""

_ABOUT = {
    "sums": "sums",
    "steady": "sums at a constant rate",
    "parity": "parities",
    "strings": "parities, longer runs",
    "parities": "two parities",
    "width": "widths",
}
_FIGURES = {"steady": ["near", "far"]}
"""Sweeps whose curves stand behind a table that is called otherwise."""

_CAPTION = (
    "Mean credence by step, one line a role and a seed; a mark on the upper edge is an event, at the step at which its "
    "state was entered."
)


def segments(body: str) -> Iterator[_Segment]:
    """Yield the parts of a section, each with the table that follows its words; a remark behind it is a part too."""
    words: list[str] = []
    name = ""
    for block in re.split(r"\n\s*\n|\n(?=<!-- )|(?<=-->)\n", body.strip()):
        mark = re.match(r"<!-- (end of )?(.*?) -->", block)
        if mark:
            name = "" if mark[1] else mark[2]
        elif block.startswith("|"):
            yield _Segment(words, table_of(block), name)
            words = []
        elif block.strip() and not block.startswith(("![", "```")):
            words += _entries(block)
    if words:
        yield _Segment(words, None, "")


def _entries(block: str) -> list[str]:
    """Return the entries of a list, or a paragraph."""
    found = re.split(r"^- ", block, flags=re.MULTILINE) if block.startswith("- ") else [block]
    return [" ".join(each.split()) for each in found if each.strip()]


def table_of(block: str) -> Table:
    """Return a table of Markdown."""
    header, _, *rows = [
        tuple(_plain(cell.strip()) for cell in row.strip().strip("|").split("|")) for row in block.split("\n")
    ]
    return Table(header, tuple(rows))


def _plain(text: str) -> str:
    """Return Markdown without its marks; a link to another site keeps its address."""
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"\1 (\2)", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return html.unescape(re.sub(r"`([^`]*)`|\*([^*]+)\*", lambda found: found[1] or found[2] or "", text))
