# SPDX-License-Identifier: Apache-2.0
"""Draw accuracy against bytes per vector, for coordinates of four bytes, one byte and one bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_monocon.functional.quantisation import vector_bytes
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.frontier import Frontier
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

_TITLES = ("float32: 4 bytes a coordinate", "int8: 1 byte", "binary: 1 bit")


def storage_figure(card: Scorecard) -> Figure | None:
    """Return a figure with a panel for each storage; None if int8 and binary vectors were not measured.

    All panels have the same axes, so that a vertical line compares them at equal bytes.
    """
    if not all(score.rounded for arm in card.arms for score in arm.scores):
        return None
    figure, panels = new_figure(columns=3, width=10.5, height=4.0)
    for place, (panel, title) in enumerate(zip(panels, _TITLES, strict=True)):
        for index, arm in enumerate(card.arms):
            _draw(panel, arm, index, place)
        panel.set_title(title, fontsize=10)
    most = max(4 * arm.width for arm in card.arms)
    floor = min(100 * card.arms[0].scores[0].chance, lowest_point(panels))
    for panel in panels:
        dimension_axis(panel, [1 << i for i in range(most.bit_length())][::2], "bytes per vector")
        panel.set_xlim(0.9, 1.1 * most)
        percent_axis(panel, floor - 5, 100.0, axis_label(card.truth.measures[0]))
        panel.label_outer()
    legend_above(figure, panels[0])
    return figure


def _draw(panel: Axes, arm: Arm, index: int, place: int) -> None:
    lines: list[Frontier] = [(score.frontier, *score.rounded)[place] for score in arm.scores]
    # Seeds may differ in rank and have their own sizes: one that has fewer numbers keeps all it has.
    dims = [k for k in sorted({k for line in lines for k in line.dims}) if all(line.dims[0] <= k for line in lines)]
    if place == 0:
        # Beyond the rank there is nothing to store.
        rank = max(1, min(score.rank for score in arm.scores))
        dims = [k for k in dims if k & (k - 1) == 0 and k <= rank] or dims[:1]
    values = np.array([[100 * line.means()[line.index(k)] for k in dims] for line in lines])
    costs = [vector_bytes(k, lines[0].storage) for k in dims]
    style = line_style(index)
    panel.plot(costs, values.mean(0), label=arm.label, **style)
    if len(lines) > 1:
        panel.fill_between(costs, values.min(0), values.max(0), color=style["color"], alpha=0.15, lw=0)
