# SPDX-License-Identifier: Apache-2.0
"""Write the landscape of a run to files, and read back the tracker from which runs are merged."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import torch

from lightning_monocon.landscape.tracker import LandscapeTracker
from lightning_monocon.runs.files import whole, write_text

FOLDER = "landscape"
EVENTS, GRAPHML, GRAPH, TRAJECTORY = "events.jsonl", "landscape.graphml", "landscape.json", "trajectory.csv"
STATE, FIGURE, DYNAMICS = "tracker.pt", "landscape.png", "dynamics.png"

Settings: TypeAlias = dict[str, float | int | str]
"""What is compared: ``task``, ``train_size``, ``batch_size``, ``lr``, ``weight_decay`` and ``optimizer`` of a run."""


def write_landscape(tracker: LandscapeTracker, folder: Path, settings: Settings) -> None:
    """Write all files but the figure to the folder. Each replaces the one of an earlier call, whole or not at all."""
    lines = (json.dumps(event.to_dict(), allow_nan=False) + "\n" for event in tracker.events)
    write_text(folder / EVENTS, "".join(lines))
    write_graph(tracker.graph(), folder)
    columns = tracker.trajectory.columns()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
    write_text(folder / TRAJECTORY, text.getvalue())
    with whole(folder / STATE) as path:
        torch.save({**_portable(tracker), "settings": settings}, path)


def write_graph(graph: nx.DiGraph, folder: Path, number: int = 1) -> None:
    """Write a graph of scalars as GraphML and as node-link JSON; ``number`` marks the names from the second on."""
    write_text(folder / numbered(GRAPHML, number), "\n".join(nx.generate_graphml(graph)) + "\n")
    plain = nx.node_link_data(graph, edges="links")
    write_text(folder / numbered(GRAPH, number), json.dumps(plain, indent=1, allow_nan=False) + "\n")


def numbered(name: str, number: int) -> str:
    """Return the name of one of several files of a kind.

    Example:
        >>> numbered("graph.png", 1), numbered("graph.png", 2)
        ('graph.png', 'graph-2.png')
    """
    stem, dot, kind = name.partition(".")
    return name if number == 1 else f"{stem}-{number}{dot}{kind}"


def place_of(folder: Path) -> Path:
    """Return the real path of the tracker of a run, given its folder or its landscape folder; it may not exist."""
    places = [folder / STATE, folder / FOLDER / STATE]
    return next((place for place in places if place.is_file()), folder).resolve()


def read_tracker(folder: Path, argument: str = "RUN") -> tuple[LandscapeTracker, Settings]:
    """Read the tracker and the settings of a run from its landscape folder or from the folder of the run.

    Args:
        folder: The folder.
        argument: What errors call it.

    Raises:
        ValueError: If there is no landscape, or its file is damaged or of another kind.
    """
    places = [folder / STATE, folder / FOLDER / STATE]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"`{argument}` must be a folder with {STATE} or {FOLDER}/{STATE}; got '{folder}'. Train the run with "
            "`SemanticLandscape`, which writes it when training ends."
        )
    try:
        stored = torch.load(found, weights_only=True)
        options = stored["options"]
        if options.get("roles"):  # files list roles that no stratum plays
            options["roles"] = {role: names for role, names in options["roles"].items() if names}
        tracker = LandscapeTracker(stored["strata"], **options)
        tracker.load_state_dict(stored["state"])
        return tracker, dict(stored["settings"])
    except Exception as error:  # damaged bytes raise errors of any kind in torch and in the tracker
        raise ValueError(
            f"`{argument}` must hold a whole {STATE} of `SemanticLandscape`; '{found}' ({found.stat().st_size} bytes) "
            f"cannot be read as one ({_in_short(error)}). Remove it and let the run write it again, or name "
            "another run."
        ) from error


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0].split('. ')[0][:120]}".removesuffix(": ")


def _portable(tracker: LandscapeTracker) -> dict[str, Any]:
    """Return state and configuration as plain values and tensors."""
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
        "chance": tracker.chance,
        "roles": {role: list(names) for role, names in tracker.roles._asdict().items()},
    }
    return {"strata": strata, "options": options, "state": tracker.state_dict()}
