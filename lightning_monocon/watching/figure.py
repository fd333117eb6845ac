# SPDX-License-Identifier: Apache-2.0
"""Draw a landscape: the trajectory with its states as bands, and the states at the height of their fallibility.

The graph itself shows only numbers. What is known of a state or of a change of state is in a table below it, which no
arrow crosses, however many there are.
"""

from __future__ import annotations

import math
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx
import numpy as np

from lightning_monocon.landscape.graph import role_mean
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.trajectory import NO_STATE, Trajectory
from lightning_monocon.watching.routes import Disc, Path, route
from lightning_monocon.watching.table import landscape_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    Drawing: TypeAlias = Figure | SubFigure

COLOURS = ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c")
INK = "#333333"
STRATA_COLOURS = (INK, "#b5442e", "#2e7bb5", "#7a7a7a")

FEW = 20
"""Most evaluations that are marked one by one."""

_TABLE_POINTS = 8.0
_LINE_INCHES = 1.25 * _TABLE_POINTS / 72
_WIDEST, _NARROWEST = 42.0, 17.0  # points across a disc
_LABEL_ROWS = 3
_BARE_INCHES = 3.6


def draw_landscape(trajectory: Trajectory, graph: nx.DiGraph, title: str = "Semantic landscape") -> Figure:
    """Draw credence and fallibility per stratum over log(step + 1), and the states as a graph."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, _height(graph, 6.5)), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2), squeeze=False).flat
    top, bottom = left.subplots(2, 1, sharex=True)
    for axes, measure, unit in ((top, "credence", "mean credence"), (bottom, "fallibility", "fallibility / nats")):
        _draw_measure(axes, trajectory, measure)
        axes.set_ylabel(unit)
    top.set_ylim(0, 1)
    bottom.set_xlabel("training step + 1 (log scale)")
    left.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    axes = _draw_states(right, graph, landscape_table(graph))
    figure.draw_without_rendering()  # the layout settles, and positions in points are known
    _number_visits(top, trajectory)
    _draw_changes(axes, graph)
    return figure


def draw_graph(graph: nx.DiGraph, width: float = 7.0, *, with_table: bool = True) -> Figure:
    """Draw the states of a run, or of several merged runs, and the changes between them.

    Args:
        graph: The states and changes.
        width: Inches across the figure.
        with_table: Whether to write what is known of them below; a page that has tables of its own needs none.
    """
    from matplotlib.figure import Figure

    height = _height(graph, 5.0) if with_table else _BARE_INCHES
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = _draw_states(figure, graph, landscape_table(graph) if with_table else " ")
    figure.draw_without_rendering()
    _draw_changes(axes, graph)
    return figure


def visits(trajectory: Trajectory) -> list[tuple[int, int, int]]:
    """Return each stay in a state as (state, first step, last step), in order."""
    stays = groupby(zip(trajectory.states, trajectory.steps, strict=True), key=itemgetter(0))
    spans = [(state, [step for _, step in stay]) for state, stay in stays]
    return [(state, steps[0], steps[-1]) for state, steps in spans if state != NO_STATE]


def marker(times: Floats) -> str:
    """Return the marker of each of ``(T,)`` evaluations: a dot where they are few, as one of them draws no line."""
    return "o" if len(times) <= FEW else ""


def _height(graph: nx.DiGraph, least: float) -> float:
    """Return the inches that leave the graph enough room above its table."""
    lines = landscape_table(graph).count("\n") + 4
    return max(least, 3.6 + lines * _LINE_INCHES)


def _draw_measure(axes: Axes, trajectory: Trajectory, measure: str) -> None:
    times, highest = trajectory.column("step") + 1, 0.0
    for number, stratum in enumerate(trajectory.strata):
        values = trajectory.column(f"{measure}/{stratum}")
        highest = max(highest, *values[np.isfinite(values)], 0.0)
        turn, place = divmod(number, len(STRATA_COLOURS))
        style: dict[str, Any] = {"color": STRATA_COLOURS[place], "ls": ("-", "--", ":")[turn % 3]}
        axes.plot(times, values, label=stratum, lw=1.6, clip_on=False, marker=marker(times), markersize=4, **style)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05 * highest or 1.0)
    for state, start, end in visits(trajectory):
        axes.axvspan(start + 1, end + 1, color=_colour(state), alpha=0.18, lw=0)
    axes.spines[["top", "right"]].set_visible(False)


def _number_visits(axes: Axes, trajectory: Trajectory) -> None:
    """Write the state of each visit above its band; if bands are narrow, in higher rows or not at all."""
    ends = [-math.inf] * _LABEL_ROWS
    for state, start, end in visits(trajectory):
        middle = math.sqrt((start + 1) * (end + 1))
        half = 4.5 * len(str(state)) + 1.5  # points; digits of 10 pt are below 8 wide
        at = axes.transData.transform((middle, 1.0))[0] * 72 / axes.figure.dpi
        row = next((i for i, last in enumerate(ends) if at - half >= last), None)
        if row is None:
            continue
        ends[row] = at + half
        axes.annotate(
            f"{state}",
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 13 * row),
            textcoords="offset points",
            ha="center",
            color=_colour(state),
            weight="bold",
        )


def _draw_states(drawing: Drawing, graph: nx.DiGraph, table: str) -> Axes:
    """Draw the axes of the states with a table below them, and leave room for discs and arrows."""
    axes: Axes = drawing.subplots()
    heights, measure = _heights(graph)
    axes.set_xlim(-0.5, max(len(heights), 1) - 0.5)
    axes.set_ylim(0, 1.25 * max(heights, default=0.0) or 1.0)
    axes.set_xticks([])
    axes.set_ylabel(f"{measure} / nats")
    axes.set_title("states (area: dwell) and changes of state", fontsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.annotate(
        table,
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -_WIDEST / 2 - 6),
        textcoords="offset points",
        va="top",
        size=_TABLE_POINTS,
        family="monospace",
        linespacing=1.2,
    )
    return axes


def _draw_changes(axes: Axes, graph: nx.DiGraph) -> None:
    """Draw discs and arrows; the layout must be settled, since arrows bend around the discs."""
    from matplotlib.patches import FancyArrowPatch

    discs, taken = _draw_discs(axes, graph), list[Path]()
    low, high = axes.get_window_extent().get_points() * 72 / axes.figure.dpi
    to_data = axes.transData.inverted()
    for source, target in graph.edges:
        start, end = discs[source], discs[target]
        bend, path = route(start, end, discs.values(), taken, (*low, *high))
        taken.append(path)
        arrow = FancyArrowPatch(
            *(tuple(to_data.transform(np.array(disc.centre) * axes.figure.dpi / 72)) for disc in (start, end)),
            arrowstyle="-|>",
            mutation_scale=10,
            color=INK,
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=start.radius + 1,
            shrinkB=end.radius + 1,
            zorder=2,
            clip_on=False,
        )
        arrow.set_in_layout(False)
        axes.add_patch(arrow)


def _draw_discs(axes: Axes, graph: nx.DiGraph) -> dict[int, Disc]:
    """Draw each state as a disc with its number, and return its place in points."""
    heights, _ = _heights(graph)
    scale = 72 / axes.figure.dpi
    spacing = axes.get_window_extent().width * scale / max(len(heights), 1)
    discs = {}
    for place, (state, height, width) in enumerate(zip(graph, heights, _widths(graph, spacing), strict=True)):
        x, y = axes.transData.transform((place, height)) * scale
        discs[state] = Disc((float(x), float(y)), width / 2)
        disc = axes.scatter([place], [height], s=width**2, color=_colour(state), lw=0, zorder=3, clip_on=False)
        size = min(10.0, 0.5 * width / len(str(state)) ** 0.5)
        style: dict[str, Any] = {"color": "white", "weight": "bold", "size": size, "zorder": 4}
        number = axes.text(place, height, f"{state}", ha="center", va="center", **style)
        for artist in (disc, number):
            artist.set_in_layout(False)
    return discs


def _heights(graph: nx.DiGraph) -> tuple[list[float], str]:
    """Return the height of each state and its meaning: the held-out fallibility, or that of the first stratum."""
    held_out = [role_mean(graph, state, "held_out", "fallibility") for state in graph]
    if not any(map(math.isnan, held_out)):
        return held_out, "held-out fallibility"
    present = dict.fromkeys(name for _, node in graph.nodes(data=True) for name in node)
    strata = [name.partition("/")[2] for name in present if name.startswith("fallibility/")]
    stratum = next((name for name in strata if not name.endswith(("_sd", "_peak"))), "")
    heights = [float(node.get(f"fallibility/{stratum}", 0.0)) for _, node in graph.nodes(data=True)]
    return heights, f"{stratum} fallibility"


def _widths(graph: nx.DiGraph, spacing: float) -> list[float]:
    """Return the width of each disc in points; area follows dwell, and neighbours ``spacing`` apart do not touch."""
    dwells = [float(node["dwell"]) for _, node in graph.nodes(data=True)]
    longest = max(dwells, default=1.0) or 1.0
    widths = [math.sqrt(_NARROWEST**2 + (_WIDEST**2 - _NARROWEST**2) * dwell / longest) for dwell in dwells]
    shrink = min(1.0, 0.6 * spacing / _WIDEST)
    return [shrink * width for width in widths]


def _colour(state: int) -> str:
    return COLOURS[state % len(COLOURS)]
