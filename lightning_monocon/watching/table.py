# SPDX-License-Identifier: Apache-2.0
"""Write events as lines and as rows for loggers, and states and changes as text for the figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any

import networkx as nx

from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.loggers.figures import Rows

COLUMNS = ("kind", "group", "step_left", "step_entered", "step_confirmed", "source", "target", "abruptness", "reason")

_MOST = 18
"""The number of states, and of lines of changes, for which a figure has room; the files have them all."""

_WHAT = 26


def event_line(event: Event) -> str:
    """Write an event as one line for the console.

    Example:
        >>> event_line(Event("grokking", 1775, 2100, 2800, 0, 1, abruptness=72.6, change={"val": 0.99}))
        'grokking: state 0 -> 1, left at step 1775, entered 2100, confirmed 2800, abruptness 72.6, val +0.99'
    """
    parts = [f"state {event.source} -> {event.target}" if event.is_transition else f"in state {event.source}"]
    if event.group is not None:
        parts = [f"group {event.group}"]
    steps = {"left at step": event.step_left, "entered": event.step_entered, "confirmed": event.step_confirmed}
    parts += [f"{word} {step}" for word, step in steps.items() if step is not None]
    if not math.isnan(event.abruptness):
        parts.append(f"abruptness {event.abruptness:.1f}")
    parts += [f"{stratum} {change:+.2f}" for stratum, change in event.change.items()]
    return f"{event.kind}: {', '.join(parts)}"


def event_table(events: Sequence[Event]) -> Rows:
    """Return one row an event, with the columns `COLUMNS`."""
    plain = [event.to_dict() for event in events]
    return [[row[name] for name in COLUMNS] for row in plain]


def landscape_table(graph: nx.DiGraph) -> str:
    """Tabulate the states of a graph and the changes between them, in columns of a monospaced font."""
    if not len(graph):
        return "No state was found."
    parts = [_aligned(_state_rows(graph))]
    if graph.number_of_edges():
        parts.append(_aligned(_change_rows(graph)))
    return "\n\n".join(parts)


def _state_rows(graph: nx.DiGraph) -> list[list[str]]:
    names = dict.fromkeys(name for _, node in graph.nodes(data=True) for name in node)
    measures = [name for name in names if name.startswith("credence/") and not name.endswith("_sd")]
    is_merged = "runs" in names
    head = ["state", *(name.removeprefix("credence/") for name in measures), "steps", *(["runs"] if is_merged else [])]
    rows = [
        [
            str(state),
            *(_shown(node.get(name, math.nan), ".2f") for name in measures),
            f"{node['dwell']:.0f}",
            *([str(node["runs"])] if is_merged else []),
        ]
        for state, node in graph.nodes(data=True)
    ]
    return [head, *_shortened(rows, _MOST)]


def _change_rows(graph: nx.DiGraph) -> list[list[str]]:
    rows: list[list[str]] = []
    for source, target, edge in graph.edges(data=True):
        first, *more = wrap(edge["kinds"], _WHAT)
        rows.append([f"{source} → {target}", first, str(edge["count"]), rate(edge)])
        rows += [["", line, "", ""] for line in more]
    return [["change", "what", "times", "per 1000 steps, 95 %"], *_shortened(rows, _MOST)]


def rate(edge: dict[str, Any]) -> str:
    """Write the interval of a rate per 1000 steps; a dash if there is none."""
    low, high = (1e3 * edge.get(name, math.nan) for name in ("rate_low", "rate_high"))
    return "-" if math.isnan(low) else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _shown(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"


def _shortened(rows: list[list[str]], most: int) -> list[list[str]]:
    return rows if len(rows) <= most else [*rows[: most - 1], ["..."]]


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    """Align columns two spaces apart, with numbers to the right."""
    columns = [*zip_longest(*rows, fillvalue="")]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for line in zip(*columns, strict=True):
        cells = [
            cell.ljust(width) if place == 0 or header == "what" else cell.rjust(width)
            for place, (cell, width, (header, *_)) in enumerate(zip(line, widths, columns, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def latest(trajectory: Trajectory) -> dict[str, float]:
    """Return the state, credences, fallibilities and dimensions of the last evaluation that were measured."""
    values = zip(trajectory.names, trajectory.values[-1], strict=True)
    return {"state": float(trajectory.states[-1]), **{name: value for name, value in values if not math.isnan(value)}}
