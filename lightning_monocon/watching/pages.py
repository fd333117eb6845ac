# SPDX-License-Identifier: Apache-2.0
"""Write the report on some runs as a page, as Markdown and as JSON, with its figures.

``report.json``, version 1:

* ``schema``, ``title``: name and version of this layout, and the heading of the page.
* ``runs[]``: ``name``, ``settings``, ``generalised`` (the step at which the held-out credence was halfway from chance
  to 1; null if it never was), ``followed`` (the last step), and ``events[]`` as in ``events.jsonl``.
* ``sections[]``: what the page says, as ``title``, ``intro``, ``sentences[]`` and ``tables[]`` (``header``, ``rows``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from lightning_monocon.runs.files import whole, write_text
from lightning_monocon.scorecard.render.outline import Outline, Section
from lightning_monocon.scorecard.render.page import page
from lightning_monocon.scorecard.render.text import markdown
from lightning_monocon.watching.curves import CAPTIONS, MOST, WIDTH, draw_curves
from lightning_monocon.watching.figure import draw_graph
from lightning_monocon.watching.files import numbered, write_graph
from lightning_monocon.watching.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "lightning-monocon/landscape/1"
REPORT, GRAPH = "report", "graph.png"
_DPI = 130
_PLACES = {
    "delays.png": "Time to generalise against the number of train samples",
    "geometry.png": "Phases of the geometry",
}
"""Sections of figures; those without one are the first section of the page."""


def write_pages(report: Outline, runs: Sequence[Run], graphs: Sequence[nx.DiGraph], out: Path) -> None:
    """Write ``report.html``, ``report.md``, ``report.json``, the figures, and each graph as GraphML and JSON.

    Args:
        report: The report on the runs.
        runs: The runs.
        graphs: The graph of each probe.
        out: The folder; it is made if it is missing.

    Raises:
        WriteError: If there is no room, or writing is not allowed.
    """
    figures = draw_curves(runs)
    for number, graph in enumerate(graphs, start=1):
        write_graph(graph, out, number)
        figures[numbered(GRAPH, number)] = draw_graph(graph, WIDTH, with_table=False)
    illustrated = with_figures(report, figures, len(runs))
    write_text(out / f"{REPORT}.md", markdown(illustrated))
    write_text(out / f"{REPORT}.json", json.dumps(as_json(report, runs), indent=1, allow_nan=False) + "\n")
    write_text(out / f"{REPORT}.html", page(illustrated, figures))
    for name, figure in figures.items():
        with whole(out / name) as path:
            figure.savefig(path, dpi=_DPI, format="png")


def with_figures(report: Outline, figures: Mapping[str, Figure], runs: int) -> Outline:
    """Return the report with its curves first, and the other figures in the sections that they belong to."""
    first = [name for name in ("runs.png", "sizes.png") if name in figures]
    note = f"The first {MOST} of {runs} runs have a panel of their own." if runs > MOST else ""
    curves = Section("Curves", note, figures=[(name, CAPTIONS[name]) for name in first])
    graphs = [name for name in figures if name.startswith("graph")]
    sections = []
    for section in report.sections:
        shown = [name for name, title in _PLACES.items() if title == section.title and name in figures]
        if section.title.startswith("States"):
            shown.append(graphs.pop(0))
        sections.append(replace(section, figures=[(name, _caption(name)) for name in shown]))
    return replace(report, sections=[curves, *sections])


def _caption(name: str) -> str:
    return CAPTIONS[GRAPH if name.startswith("graph") else name]


def as_json(report: Outline, runs: Sequence[Run]) -> dict[str, Any]:
    """Return the report as plain values."""
    sections = [
        {
            "title": section.title,
            "intro": section.intro,
            "sentences": [*map(str, section.sentences)],
            "tables": [{"header": [*t.header], "rows": [[*map(str, row)] for row in t.rows]} for t in section.tables],
        }
        for section in report.sections
    ]
    return {"schema": SCHEMA, "title": report.title, "runs": [*map(_run_as_json, runs)], "sections": sections}


def _run_as_json(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "settings": run.settings,
        "generalised": None if math.isnan(run.delay) else run.delay,
        "followed": run.followed,
        "events": [event.to_dict() for event in run.tracker.events],
    }
