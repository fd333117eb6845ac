# SPDX-License-Identifier: Apache-2.0
"""Draw the effective dimension by epoch, at the output of the encoder and at that of the head, with its phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_monocon.landscape.phases import geometry_phases
from lightning_monocon.runs.record import EMBEDDING, ENCODER, History, mean_line
from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.figures.style import (
    draw_history,
    epoch_axes,
    legend_above,
    line_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N99 = "effective_dimension"
_PANELS = ((ENCODER + _N99, "encoder output, below the head"), (EMBEDDING + _N99, "embedding"))


def dynamics_figure(card: Scorecard) -> Figure | None:
    """Return a figure of n99 below each head (left) and of the embedding (right); None if no run recorded either.

    Both panels have the same axes. A triangle stands where one phase of the geometry ends and the next begins, with its
    interval.
    """
    figure, panels = new_figure(columns=2, width=9.0, height=3.8)
    for panel, (metric, title) in zip(panels, _PANELS, strict=True):
        for index, arm in enumerate(card.arms):
            draw_history(panel, arm.name, arm.histories, metric, index)
            _draw_turns(panel, arm.histories, metric, index)
        panel.set_title(title, fontsize=10)
        panel.set_ylabel("effective dimension n99")
    if not any(panel.lines for panel in panels):
        return None
    top = max(panel.get_ylim()[1] for panel in panels if panel.lines)
    for panel in panels:
        panel.set_ylim(0.0, top)
    epoch_axes(panels)
    legend_above(figure, *reversed(panels))
    return figure


def _draw_turns(panel: Axes, histories: Sequence[History], metric: str, index: int) -> None:
    """Mark the ends of phases of the mean over an arm's seeds: downwards where n99 begins to fall."""
    epochs, mean, *_ = mean_line(histories, metric)
    heights, colour = dict(zip(epochs, mean, strict=True)), line_style(index)["color"]
    for phase in geometry_phases(epochs, mean)[:-1]:
        where = ([phase.end], [heights[int(phase.end)]])
        marker = "v" if phase.name == "entropy-seeking" else "^"
        span = [[phase.end - phase.earliest], [phase.latest - phase.end]]
        panel.errorbar(*where, xerr=span, fmt=marker, color=colour, markersize=7, capsize=3, zorder=3)
