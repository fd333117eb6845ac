# SPDX-License-Identifier: Apache-2.0
"""Build the landscape of a run as a directed graph: states are nodes, changes of state are edges.

All attributes are scalars, so that GraphML can hold them. An attribute that was not measured is absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import networkx as nx
import numpy as np

from lightning_monocon.landscape.events import Event
from lightning_monocon.landscape.rates import garwood_interval, jump_probabilities
from lightning_monocon.landscape.roles import Role, Roles
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.trajectory import Trajectory


def build_graph(trajectory: Trajectory, states: int, events: Iterable[Event]) -> nx.DiGraph:
    """Return nodes ``0 .. states - 1`` and the edges of the changes of state, with counts, rates and intervals."""
    graph = nx.DiGraph()
    for state in range(states):
        graph.add_node(state, **node_statistics(trajectory, state))
    for (source, target), moves in moves_by_edge(events).items():
        add_edge(graph, source, target, moves)
    for state in graph:
        add_rates(graph, state)
    return graph


def role_attributes(roles: Roles) -> dict[str, str]:
    """Return the strata of each role as attributes of a graph, which must be scalars."""
    return {role: ", ".join(strata) for role, strata in roles._asdict().items() if strata or role != "wrong"}


def role_mean(graph: nx.DiGraph, state: int, role: Role, measure: str) -> float:
    """Return the mean of a measure of a state over the strata of a role; NaN if there are none.

    A graph without roles, as an earlier release wrote it, has those of the names ``train`` and ``val``.
    """
    default = {"train": "train", "held_out": "val", "wrong": ""}[role]
    strata = [name for name in graph.graph.get(role, default).split(", ") if name]
    values = [graph.nodes[state].get(f"{measure}/{stratum}", math.nan) for stratum in strata]
    return float(np.mean(values)) if values else math.nan


def moves_by_edge(events: Iterable[Event]) -> dict[tuple[int, int], list[Event]]:
    """Return the changes between two states, by (source, target) in ascending order."""
    moves: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        if event.is_transition and event.source is not None and event.target is not None:
            moves.setdefault((event.source, event.target), []).append(event)
    return dict(sorted(moves.items()))


def add_edge(graph: nx.DiGraph, source: int, target: int, moves: list[Event]) -> None:
    """Add one edge for all the ``moves`` between two states."""
    measured = {
        "abruptness": max((e.abruptness for e in moves if not math.isnan(e.abruptness)), default=math.nan),
        "barrier": max((e.barrier for e in moves if not math.isnan(e.barrier)), default=math.nan),
    }
    kinds = ", ".join(dict.fromkeys(e.kind for e in moves))
    graph.add_edge(source, target, count=len(moves), kinds=kinds, **present(measured))


def node_statistics(trajectory: Trajectory, state: int) -> dict[str, Any]:
    """Return dwell and visits of a state, and mean, deviation and peak of what was measured inside it."""
    inside = trajectory.column("state") == state
    statistics: dict[str, Any] = {"evaluations": int(inside.sum()), **_dwell(trajectory.column("step"), inside)}
    for name in trajectory.names:
        values = trajectory.column(name)[inside]
        values = values[~np.isnan(values)]
        if len(values):
            statistics[name] = float(values.mean())
            statistics[f"{name}_sd"] = float(values.std())
            if name.startswith("fallibility"):
                statistics[f"{name}_peak"] = float(values.max())
    return statistics


def present(attributes: dict[str, float]) -> dict[str, float]:
    """Return the attributes that were measured."""
    return {name: value for name, value in attributes.items() if not math.isnan(value)}


def _dwell(steps: Floats, inside: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    """Sum the time between consecutive evaluations that both lie inside, in steps and in log-steps."""
    if not inside.any():
        return {"dwell": 0.0, "log_dwell": 0.0, "visits": 0}
    both = inside[1:] & inside[:-1]
    return {
        "dwell": float(np.diff(steps)[both].sum()),
        "log_dwell": float(np.diff(np.log1p(steps))[both].sum()),
        "visits": int((np.diff(np.concatenate([[False], inside]).astype(int)) == 1).sum()),
        "first_step": int(steps[inside][0]),
        "last_step": int(steps[inside][-1]),
    }


def add_rates(graph: nx.DiGraph, state: int) -> None:
    """Add the exit rate of a state and the rates along its edges, per step, with 95 % Garwood intervals."""
    exits, dwell = list(graph.out_edges(state, data=True)), graph.nodes[state]["dwell"]
    counts = np.array([data["count"] for _, _, data in exits], dtype=np.float64)
    for (_, _, data), probability in zip(exits, jump_probabilities(counts), strict=True):
        data["probability"] = float(probability)
    graph.nodes[state]["exits"] = int(counts.sum())
    if dwell <= 0:
        return
    for target in (graph.nodes[state], *(data for _, _, data in exits)):
        count = target["exits"] if "exits" in target else target["count"]
        target["rate_low"], target["rate"], target["rate_high"] = garwood_interval(count, dwell)
