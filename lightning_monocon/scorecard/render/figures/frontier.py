# SPDX-License-Identifier: Apache-2.0
"""Draw accuracy against kept dimensions, one line per arm: the figure that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.figures.style import (
    dimension_axis,
    legend_above,
    line_style,
    lowest_point,
    new_figure,
    percent_axis,
)
from lightning_monocon.scorecard.render.words import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ZOOM = 5.0
"""Points of accuracy below the best that the right panel shows; most arms differ only there."""


def frontier_figure(card: Scorecard) -> Figure:
    """Return a figure of the first measure against kept dimensions (left), and of its upper five points (right).

    The bands span the seeds, and a ring marks each arm's n99.
    """
    figure, panels = new_figure(columns=2, width=9.0, height=4.3)
    for panel in panels:
        for index, arm in enumerate(card.arms):
            _draw(panel, card, arm, index)
        dimension_axis(panel, card.dims, "kept dimensions k")
    best = 100 * max(arm.accuracy(k)[0] for arm in card.arms for k in card.dims)
    floor = min(100 * card.arms[0].scores[0].chance, lowest_point(panels))
    label = axis_label(card.truth.measures[0])
    percent_axis(panels[0], floor - 5, best + 6, label)
    percent_axis(panels[1], best - _ZOOM, best + _ZOOM / 5, label)
    panels[0].set_title("all (a ring marks n99)", fontsize=10)
    panels[1].set_title(f"the upper {_ZOOM:.0f} points", fontsize=10)
    legend_above(figure, panels[0])
    return figure


def _draw(panel: Axes, card: Scorecard, arm: Arm, index: int) -> None:
    style = line_style(index)
    dims = [k for k in card.dims if k < arm.width] + [arm.width]
    columns = [[100 * score.value_at(k) for score in arm.scores] for k in dims]
    mean = [sum(column) / len(column) for column in columns]
    panel.plot(dims, mean, label=arm.label, **style)
    if len(arm.scores) > 1:
        panel.fill_between(dims, [*map(min, columns)], [*map(max, columns)], color=style["color"], alpha=0.15, lw=0)
    n99 = arm.spread("n99")[0]
    if n99 >= 1:
        at = 100 * arm.accuracy(max(score.n99 for score in arm.scores))[0]
        panel.plot(n99, at, "o", markersize=11, markerfacecolor="none", color=style["color"], zorder=4)
