# SPDX-License-Identifier: Apache-2.0
"""Draw how many rows free vectors of k numbers can be trained to order, and where the arms stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.functional.critical_dimension import fitted_rows
from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.figures.style import dimension_axis, legend_above, line_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def limit_figure(card: Scorecard) -> Figure:
    """Return a figure of the rows against the numbers of a vector, with the numbers kept of each arm and its gallery.

    An arm above the line holds more rows than such a training can order freely.
    """
    figure, (panel,) = new_figure(columns=1, width=5.5, height=4.0)
    most = max(8, *card.dims, *(arm.width for arm in card.arms))
    numbers = range(1, most + 1)
    panel.plot(numbers, [fitted_rows(k) for k in numbers], color="0.4", linewidth=1.2, label="trained freely (fit)")
    for index, arm in enumerate(card.arms):
        style = line_style(index)
        style["linestyle"] = ""
        panel.plot([card.size_of(arm)], [arm.scores[0].n], label=arm.name, **style)
    panel.set_yscale("log")
    panel.set_ylabel("rows")
    dimension_axis(panel, sorted({*(1 << i for i in range(most.bit_length())), most}), "numbers of a vector k")
    legend_above(figure, panel)
    return figure
