# SPDX-License-Identifier: Apache-2.0
"""Draw what the runs of a report went through, with the look of the scorecard: curves, events, delays, geometry.

A panel has no text but its title and the names of its axes: events are marks, which a legend above all panels names.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_monocon.landscape.roles import Role
from lightning_monocon.landscape.strata import Floats
from lightning_monocon.landscape.theory import DELAY_LAWS, compare_laws, spanning_probability
from lightning_monocon.scorecard.render.figures.style import legend_above, line_style, new_figure
from lightning_monocon.watching.figure import COLOURS, visits
from lightning_monocon.watching.runs import UNTOLD, Run, delays_of, phases_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTIONS = {
    "runs.png": "Mean credence of what is trained on and of what is held out, by step. Bands are the states of a run, "
    "in the order of the legend; a mark on the upper edge is an event, at the step at which its state was entered.",
    "sizes.png": "Held-out credence and fallibility by step, coloured by the number of train samples.",
    "delays.png": "Left: steps until the held-out credence was halfway from chance to 1, the laws that were fitted to "
    "them, and as triangles runs that ended before. Right: share of the runs that were there within so many steps, "
    "with Wilson's interval.",
    "geometry.png": "Effective rank of the probe by step. Triangles: where one phase of the geometry ends and the next "
    "begins, downwards where the rank begins to fall, with the steps at which noise may hide the turn.",
    "graph.png": "States at the height of their held-out fallibility, and the changes between them.",
}
"""What each figure of a report shows, by file name."""

WIDTH = 11.0
"""Inches across a figure; on a page all are as wide as the text, so that their letters are of one size."""

_TITLE = 42  # letters of 9 points above a panel

_ROLES: dict[Role, str] = {"train": "trained on", "held_out": "held out", "wrong": "wrong labels"}
"""What the legend calls the roles whose credence is drawn, as far as a stratum plays them."""

MOST = 12
"""The number of runs that have a panel of their own."""

FEW = 15
"""A curve of fewer points than this has a marker at each, and so have the others of its panel."""

_MARKS = "v^Ds*XPo<>hd"
_EDGE = 1.06


def draw_curves(runs: Sequence[Run]) -> dict[str, Figure]:
    """Return the figures of a report by file name; what the runs cannot show is left out."""
    drawn = {
        "runs.png": runs_figure(runs[:MOST]),
        "sizes.png": sizes_figure(runs),
        "delays.png": delays_figure(runs),
        "geometry.png": geometry_figure(runs),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def runs_figure(runs: Sequence[Run]) -> Figure:
    """Draw the credences of each run in a panel of its own, with its states as bands and its events as marks."""
    columns = min(3, len(runs))
    rows = math.ceil(len(runs) / columns)
    figure, panels = new_figure(rows, columns=columns, width=WIDTH, height=1.0 + 2.3 * rows)
    kinds = [*dict.fromkeys(e.kind for run in runs for e in run.tracker.events if e.kind not in UNTOLD)]
    for panel, run in zip(panels, runs, strict=False):
        _draw_run(panel, run, kinds)
    for panel in panels[len(runs) :]:
        panel.set_visible(False)
    for place, panel in enumerate(panels[: len(runs)]):
        is_left, is_last = place % columns == 0, place + columns >= len(runs)
        panel.set_xlim(_span(runs))  # of one scale, so that runs compare; one that ended before ends within
        panel.set(ylabel="mean credence" if is_left else "", xlabel="step + 1" if is_last else "")
    states = sorted({state for run in runs for state, _, _ in visits(run.tracker.trajectory)})
    legend_above(figure, *panels[: len(runs)], order=[*_ROLES.values(), *map("state {}".format, states)])
    return figure


def _draw_run(panel: Axes, run: Run, kinds: Sequence[str]) -> None:
    trajectory = run.tracker.trajectory
    times = trajectory.column("step") + 1
    for index, (role, label) in enumerate(_ROLES.items()):
        values = trajectory.role(role)
        if not np.isnan(values).all():
            panel.plot(times, values, label=label, **_plain_line(index), **_points(values))
    for state, start, end in visits(trajectory):
        panel.axvspan(start + 1, end + 1, color=COLOURS[state % len(COLOURS)], alpha=0.18, lw=0, label=f"state {state}")
    for event in run.tracker.events:
        step = event.step_confirmed if event.step_entered is None else event.step_entered
        if event.kind in kinds and step is not None:
            place = kinds.index(event.kind)
            style: dict[str, Any] = {"ls": "", "ms": 6, "color": line_style(place + 2)["color"], "clip_on": False}
            panel.plot([step + 1], [_EDGE], marker=_MARKS[place % len(_MARKS)], label=event.kind, **style)
    panel.set(xscale="log", ylim=(0, _EDGE))
    panel.set_yticks([0, 0.5, 1])
    lines = textwrap.wrap(run.name.replace(",", ", "), _TITLE, break_long_words=False, break_on_hyphens=False)
    panel.set_title("\n".join(lines), fontsize=9, pad=9)


def sizes_figure(runs: Sequence[Run]) -> Figure | None:
    """Draw the held-out credence and fallibility of all runs by step; None for one run, which `runs_figure` shows."""
    if len(runs) < 2:
        return None
    figure, panels = new_figure(columns=2, width=WIDTH, height=4.0)
    for panel, measure, unit in zip(
        panels, ("credence", "fallibility"), ("credence", "fallibility / nats"), strict=True
    ):
        curves = [run.tracker.trajectory.role("held_out", measure) for run in runs]
        for (run, style), values in zip(_coloured(runs), curves, strict=True):
            panel.plot(run.tracker.trajectory.column("step") + 1, values, **style, **_points(*curves))
        panel.set(xscale="log", xlim=_span(runs), xlabel="step + 1", ylabel=f"held-out {unit}")
        panel.set_ylim(0, 1.02 if measure == "credence" else None)
    legend_above(figure, panels[0], order=_size_names(runs))
    return figure


def delays_figure(runs: Sequence[Run]) -> Figure | None:
    """Draw delays with the laws fitted to them, and the share that generalised; None if no law can be fitted."""
    found = delays_of(runs)
    if not found.is_enough:
        return None
    figure, (left, right) = new_figure(columns=2, width=WIDTH, height=4.0)
    sizes, times, hidden = np.array(found.sizes), np.array(found.times), np.array(found.censored)
    left.plot(sizes[~hidden], times[~hidden], "o", color="black", ms=4, label="generalised")
    if hidden.any():
        left.plot(sizes[hidden], times[hidden], "^", color="0.5", mfc="white", ms=5, label="ended before")
    grid = np.linspace(sizes.min(), sizes.max(), 300)
    comparison = compare_laws(found.sizes, found.times, DELAY_LAWS, found.censored)
    for index, (name, fit) in enumerate(comparison.fits.items()):
        values = np.exp(np.minimum(DELAY_LAWS[name].log_value(grid, np.array(fit.parameters)), 50.0))
        shown = values < 3 * times.max()
        label = f"{name}, weight {comparison.weights[name]:.2f}"
        left.plot(grid[shown], values[shown], label=label, **_plain_line(index + 1))
    left.set(xscale="log", yscale="log", xlabel="train samples", ylabel="steps to generalise")
    _draw_shares(right, runs)
    for panel in (left, right):
        _plain_ticks(panel, sizes)
    legend_above(figure, left, right)
    return figure


def _draw_shares(panel: Axes, runs: Sequence[Run]) -> None:
    sizes, delays = [float(run.settings["train_size"]) for run in runs], [run.delay for run in runs]
    followed = [run.followed for run in runs]
    for index, budget in enumerate((max(followed) / 4, max(followed) / 2, max(followed))):
        shares = spanning_probability(sizes, delays, budget, followed)
        known = {size: share for size, share in shares.items() if not math.isnan(share.estimate)}
        places = np.array([*known]) * (1 + 0.012 * (index - 1))  # beside each other
        middle = np.array([share.estimate for share in known.values()])
        ends = np.array([[share.estimate - share.low, share.high - share.estimate] for share in known.values()]).T
        style = {**_plain_line(index + 5), "marker": "o", "ms": 3.5, "capsize": 2, "linewidth": 1.2}
        panel.errorbar(places, middle, yerr=np.abs(ends), label=f"within {budget:.0f} steps", **style)
    panel.set(xscale="log", xlabel="train samples", ylabel="share that generalises", ylim=(0, 1.02))


def geometry_figure(runs: Sequence[Run]) -> Figure | None:
    """Draw the effective rank of the probe by step with its turns; None if it was not measured."""
    figure, (panel,) = new_figure(columns=1, width=WIDTH, height=4.0)
    curves = [run.tracker.trajectory.column("effective_rank") for run in runs]
    for (run, style), ranks in zip(_coloured(runs), curves, strict=True):
        trajectory, known = run.tracker.trajectory, np.isfinite(ranks)
        times = trajectory.column("step") + 1
        if known.any():
            panel.plot(times[known], ranks[known], **style, **_points(*curves))
        heights = dict(zip(trajectory.steps, ranks, strict=True))
        for phase in phases_of(run)[:-1]:
            where = ([phase.end + 1], [heights[int(phase.end)]])
            span = [[phase.end - phase.earliest], [phase.latest - phase.end]]
            marker = "v" if phase.name == "entropy-seeking" else "^"
            panel.errorbar(*where, xerr=span, fmt=marker, color=style["color"], ms=6, capsize=3, zorder=3)
    if not panel.lines:
        return None
    panel.set(xscale="log", xlim=_span(runs), xlabel="step + 1", ylabel="effective rank")
    panel.set_ylim(bottom=0)
    legend_above(figure, panel, order=_size_names(runs))
    return figure


def _span(runs: Sequence[Run]) -> tuple[float, float]:
    """Return the limits of the axis of steps plus one, from the first to the last of all runs."""
    return 1.0, max(run.followed for run in runs) + 1


def _coloured(runs: Sequence[Run]) -> list[tuple[Run, dict[str, Any]]]:
    """Return the runs with their lines: a colour a number of train samples, which the first run of it names."""
    sizes = sorted({float(run.settings["train_size"]) for run in runs})
    named = set[float]()
    lines = []
    for run in runs:
        size = float(run.settings["train_size"])
        style = _plain_line(sizes.index(size)) | {"linewidth": 1.1}
        lines.append((run, style if size in named else {**style, "label": f"{size:.0f} samples"}))
        named.add(size)
    return lines


def _size_names(runs: Sequence[Run]) -> list[str]:
    """Return the labels of the numbers of train samples, ascending."""
    return [f"{size:.0f} samples" for size in sorted({float(run.settings["train_size"]) for run in runs})]


def _plain_line(index: int) -> dict[str, Any]:
    """Return colour and dash of the scorecard, without its markers: a curve has too many points for them."""
    style = line_style(index)
    return {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.5}


def _points(*curves: Floats) -> dict[str, Any]:
    """Return the markers of curves, one of which has few points, between which nothing was measured; else none.

    The curves of a panel are marked alike, as one entry of the legend stands for several of them.
    """
    measured = [count for count in (int(np.isfinite(values).sum()) for values in curves) if count]
    return {"marker": "o", "ms": 3} if min(measured, default=FEW) < FEW else {}


def _plain_ticks(panel: Axes, sizes: np.ndarray[Any, Any]) -> None:
    """Put plain numbers on a logarithmic axis, at most six of the sizes that were trained."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    found = np.unique(sizes)
    wanted = np.geomspace(found[0], found[-1], 5)
    shown = sorted({float(found[np.abs(np.log(found / each)).argmin()]) for each in wanted})
    panel.xaxis.set_major_locator(FixedLocator(shown))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
