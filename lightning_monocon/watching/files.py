# SPDX-License-Identifier: Apache-2.0
"""The landscape of a run as files: events, graph, trajectory, and the state from which runs are merged."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import torch

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.landscape.events import Event
from lightning_monocon.runs.files import whole, write_text

FOLDER = "landscape"
EVENTS, GRAPHML, GRAPH, TRAJECTORY = "events.jsonl", "landscape.graphml", "landscape.json", "trajectory.csv"
STATE, FIGURE = "tracker.pt", "landscape.png"


Settings: TypeAlias = dict[str, float | int | str]
"""What the laws compare runs by: ``train_size``, ``batch_size``, ``lr``, ``weight_decay``, ``optimizer``."""


def write_landscape(tracker: LandscapeTracker, folder: Path, settings: Settings) -> None:
    """Write every file but the figure; what an earlier call wrote is replaced, each file whole or not at all.

    Args:
        tracker: Of the run.
        folder: Made where it is missing.
        settings: Of the run.
    """
    lines = [json.dumps(event.to_dict(), allow_nan=False) for event in tracker.events]
    write_text(folder / EVENTS, "".join(line + "\n" for line in lines))
    write_graph(tracker.graph(), folder)
    columns = tracker.trajectory.columns()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
    write_text(folder / TRAJECTORY, text.getvalue())
    with whole(folder / STATE) as path:
        torch.save({**_portable(tracker), "settings": settings}, path)


def write_graph(graph: nx.DiGraph, folder: Path) -> None:
    """Write a graph of scalars as GraphML and as node-link JSON."""
    write_text(folder / GRAPHML, "\n".join(nx.generate_graphml(graph)) + "\n")
    plain = nx.node_link_data(graph, edges="links")
    write_text(folder / GRAPH, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def read_tracker(folder: Path) -> tuple[LandscapeTracker, Settings]:
    """The tracker and the settings of a run, from its landscape folder or from the run's folder.

    Raises:
        ValueError: If there is no landscape, or its file is torn or of another kind.
    """
    places = [folder / STATE, folder / FOLDER / STATE]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(f"`RUN` must be a folder with {STATE} or {FOLDER}/{STATE}; got '{folder}'.")
    try:
        stored = torch.load(found, weights_only=True)
        tracker = LandscapeTracker(stored["strata"], **stored["options"])
        tracker.load_state_dict(stored["state"])
        return tracker, dict(stored["settings"])
    except Exception as error:  # from damaged bytes torch raises whatever it stumbles over, and a tracker the same
        raise ValueError(
            f"`RUN` must hold a whole {STATE} of `SemanticLandscape`; '{found}' ({found.stat().st_size} bytes) "
            f"cannot be read as one ({_in_short(error)}). Remove it and let the run write it again, or leave "
            "out that RUN."
        ) from error


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].split('. ')[0][:120]}".removesuffix(": ")


def read_events(path: Path) -> list[Event]:
    """The events of an ``events.jsonl``."""
    return [Event.from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def event_line(event: Event) -> str:
    """One line for the console.

    Example:
        >>> event_line(Event("grokking", 1775, 2100, 2800, 0, 1, abruptness=72.6, change={"val": 0.99}))
        'grokking: state 0 -> 1, left at step 1775, entered 2100, confirmed 2800, abruptness 72.6, val +0.99'
    """
    parts = [f"state {event.source} -> {event.target}" if event.is_transition else f"in state {event.source}"]
    if event.group is not None:
        parts = [f"group {event.group}"]
    parts += [
        f"{word} {step}"
        for word, step in (
            ("left at step", event.step_left),
            ("entered", event.step_entered),
            ("confirmed", event.step_confirmed),
        )
        if step is not None
    ]
    if event.abruptness == event.abruptness:  # measured
        parts.append(f"abruptness {event.abruptness:.1f}")
    parts += [f"{stratum} {change:+.2f}" for stratum, change in event.change.items()]
    return f"{event.kind}: {', '.join(parts)}"


def _portable(tracker: LandscapeTracker) -> dict[str, Any]:
    """State and configuration, plain values and tensors only."""
    strata = [""] * tracker.strata.size
    for name, members in zip(tracker.strata.names, tracker.strata.members, strict=True):
        for position in members.tolist():
            strata[position] = name
    clustering, base = tracker.clustering, tracker.base
    options = {
        "eps_in": base.inner,
        "eps_out": base.outer,
        "window": clustering.window,
        "max_window": clustering.max_window,
        "probe": tracker.probe,
        "measure": tracker.measure,
    }
    return {"strata": strata, "options": options, "state": tracker.state_dict()}
