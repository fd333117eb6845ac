# SPDX-License-Identifier: Apache-2.0
"""Draw the geometry of a probe over training: RankMe, alpha-ReQ and n99, each with its phases and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_monocon.landscape.phases import MEASURES, GeometryPhase, trajectory_phases
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.scorecard.render.figures.style import PHASE_COLOURS
from lightning_monocon.watching.figure import INK, STRATA_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ALPHA = 0.16
_FEWEST = 2  # measurements, below which there is no line


def draw_dynamics(trajectory: Trajectory, title: str = "Geometry of the probe") -> Figure | None:
    """Return a figure of the credence and of each measure over log(step + 1); None if none was measured twice.

    A band stands for a phase, and a triangle for the turn between two, downwards at a highest value,
    with the range of steps at which the turn may lie.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    phases = {
        name: found
        for name, found in trajectory_phases(trajectory).items()
        if np.isfinite(trajectory.column(name)).sum() >= _FEWEST
    }
    if not phases:
        return None
    figure = Figure(figsize=(7.5, 1.6 + 1.9 * (len(phases) + 1)), layout="constrained")
    figure.suptitle(title)
    top, *panels = figure.subplots(len(phases) + 1, 1, sharex=True)
    _draw_credence(top, trajectory)
    for panel, (name, found) in zip(panels, phases.items(), strict=True):
        _draw_measure(panel, trajectory, name, found)
    panels[-1].set_xlabel("training step + 1 (log scale)")
    shown = dict.fromkeys(phase.name for found in phases.values() for phase in found)
    handles = [
        Patch(color=PHASE_COLOURS[name], alpha=2 * _ALPHA, label=name) for name in PHASE_COLOURS if name in shown
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _draw_credence(panel: Axes, trajectory: Trajectory) -> None:
    for number, stratum in enumerate(trajectory.strata):
        turn, place = divmod(number, len(STRATA_COLOURS))
        style: dict[str, Any] = {"color": STRATA_COLOURS[place], "ls": ("-", "--", ":")[turn % 3]}
        panel.plot(trajectory.column("step") + 1, trajectory.column(f"credence/{stratum}"), label=stratum, **style)
    panel.set_xscale("log")
    panel.set_ylim(0, 1)
    panel.set_ylabel("mean credence")
    panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panel.spines[["top", "right"]].set_visible(False)


def _draw_measure(panel: Axes, trajectory: Trajectory, name: str, phases: Sequence[GeometryPhase]) -> None:
    steps, values = trajectory.column("step"), trajectory.column(name)
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    panel.plot(steps + 1, values, color=INK, lw=1.4, marker="o", markersize=2.5)
    for phase in phases:
        panel.axvspan(phase.start + 1, phase.end + 1, color=PHASE_COLOURS[phase.name], alpha=_ALPHA, lw=0)
    for phase in phases[:-1]:
        height = float(values[np.flatnonzero(steps == phase.end)[0]])
        rises = phase.name == "entropy-seeking"
        is_peak = rises != (name == "alpha_req")  # of the line: an exponent falls where the dimension rises
        span = [[phase.end - phase.earliest], [phase.latest - phase.end]]
        style: dict[str, Any] = {"color": STRATA_COLOURS[1], "capsize": 3, "markersize": 6, "zorder": 3}
        panel.errorbar([phase.end + 1], [height], xerr=span, fmt="v" if is_peak else "^", **style)
    low, high = float(values.min()), float(values.max())
    room = 0.12 * (high - low) or 0.1 * high or 1.0
    panel.set_ylim(max(0.0, low - room), high + room)
    panel.set_ylabel(MEASURES[name])
    panel.spines[["top", "right"]].set_visible(False)
