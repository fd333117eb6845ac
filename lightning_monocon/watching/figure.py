# SPDX-License-Identifier: Apache-2.0
"""The figure of a landscape: the trajectory with its states as bands, and the graph at the height of fallibility."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from lightning_monocon.landscape.trajectory import NO_STATE, Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c")
INK = "#333333"


def draw_landscape(trajectory: Trajectory, graph: nx.DiGraph, title: str = "Semantic landscape") -> Figure:
    """Credence and fallibility per stratum over log(step + 1), and the states as a graph."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), layout="constrained")
    panels = figure.subplot_mosaic([["credence", "graph"], ["fallibility", "graph"]], width_ratios=(3, 2))
    top, bottom = panels["credence"], panels["fallibility"]
    bottom.sharex(top)
    for axes, measure, unit in ((top, "credence", "mean credence"), (bottom, "fallibility", "fallibility / nats")):
        _draw_measure(axes, trajectory, measure)
        axes.set_ylabel(unit)
    top.set_ylim(-0.03, 1.08)
    bottom.set_xlabel("training step (log scale)")
    top.legend(loc="center left", frameon=False)
    draw_graph(panels["graph"], graph)
    figure.suptitle(title)
    return figure


def draw_graph(axes: Axes, graph: nx.DiGraph) -> None:
    """States at the height of their validation fallibility, area by dwell; counts and rate intervals on the edges."""
    places = {state: (float(i), graph.nodes[state].get("fallibility/val", 0.0)) for i, state in enumerate(graph)}
    longest = max((graph.nodes[state]["dwell"] for state in graph), default=1.0) or 1.0
    middle = float(np.mean([y for _, y in places.values()])) if places else 0.0
    for state, (x, y) in places.items():
        area = 300 + 1500 * graph.nodes[state]["dwell"] / longest
        axes.scatter([x], [y], s=area, color=_colour(state), alpha=0.85, zorder=3)
        axes.annotate(f"{state}", (x, y), ha="center", va="center", color="white", weight="bold", zorder=4)
        side = 1 if y >= middle else -1  # outwards, where no arrow passes
        axes.annotate(
            _state_label(graph.nodes[state]),
            (x, y),
            xytext=(0, 30 * side),
            textcoords="offset points",
            ha="center",
            va="bottom" if side > 0 else "top",
        )
    for number, (source, target, data) in enumerate(graph.edges(data=True)):
        _draw_edge(axes, places[source], places[target], _edge_label(data), number)
    axes.set_xlim(-0.7, max(len(places) - 0.3, 0.7))
    axes.margins(y=0.35)
    axes.set_xticks([])
    axes.set_ylabel("validation fallibility / nats")
    axes.set_title("states (area: dwell) and changes of state", fontsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _draw_measure(axes: Axes, trajectory: Trajectory, measure: str) -> None:
    times = trajectory.column("step") + 1
    for stratum, colour in zip(trajectory.strata, (INK, "#b5442e", "#2e7bb5", "#7a7a7a"), strict=False):
        axes.plot(times, trajectory.column(f"{measure}/{stratum}"), color=colour, label=stratum, lw=1.6)
    axes.set_xscale("log")
    for state, start, end in visits(trajectory):
        axes.axvspan(start + 1, end + 1, color=_colour(state), alpha=0.18, lw=0)
        if measure == "credence":
            middle = math.sqrt((start + 1) * (end + 1))
            axes.text(middle, 1.02, f"{state}", ha="center", color=_colour(state), weight="bold")
    axes.spines[["top", "right"]].set_visible(False)


def visits(trajectory: Trajectory) -> list[tuple[int, int, int]]:
    """Each stay in a state as (state, first step, last step), in order."""
    states, steps = np.array(trajectory.states), np.array(trajectory.steps)
    if not len(states):
        return []
    edges = np.flatnonzero(np.diff(states)) + 1
    parts = np.split(np.arange(len(states)), edges)
    return [(int(states[p[0]]), int(steps[p[0]]), int(steps[p[-1]])) for p in parts if states[p[0]] != NO_STATE]


def _draw_edge(axes: Axes, start: tuple[float, float], end: tuple[float, float], label: str, number: int) -> None:
    bend = 0.25 + 0.1 * (number % 3)
    style = {"arrowstyle": "-|>", "color": INK, "connectionstyle": f"arc3,rad={bend}", "shrinkA": 22, "shrinkB": 22}
    axes.annotate("", end, start, arrowprops=style)
    place = tuple(a + 0.3 * (b - a) for a, b in zip(start, end, strict=True))  # nearer its source: two ways, two places
    paper = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    axes.annotate(label, (place[0], place[1]), ha="center", va="center", fontsize=8, bbox=paper, zorder=5)


def _state_label(node: dict[str, Any]) -> str:
    train, val = (node.get(f"credence/{stratum}", math.nan) for stratum in ("train", "val"))
    return f"train {train:.2f}, val {val:.2f}\n{node['dwell']:.0f} steps"


def _edge_label(edge: dict[str, Any]) -> str:
    label = f"{edge['kinds']} x{edge['count']}"
    if "rate_low" in edge:
        label += f"\n{_number(1e3 * edge['rate_low'])} to {_number(1e3 * edge['rate_high'])} per 1000 steps"
    return label


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _colour(state: int) -> str:
    return COLOURS[state % len(COLOURS)]
