# SPDX-License-Identifier: Apache-2.0
"""Draw which right answers are proved, and which survive an attack, against the change of the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.render.figures.style import legend_above, line_style, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def certificates_figure(card: Scorecard) -> Figure | None:
    """Return a figure of the shares that are right and proved (left) and right under an attack (right).

    None if nothing was asked, or no arm has a head. Each arm keeps the colour that it has in the other figures.
    """
    found = card.certificates
    if not found:
        return None
    figure, panels = new_figure(columns=2, width=9.0, height=4.0)
    titles = {"proved": "right and proved", "attacked": "right under attack"}
    for panel, (part, title) in zip(panels, titles.items(), strict=True):
        for index, arm in enumerate(card.arms):
            if runs := found.get(arm.name):
                values = 100 * np.array([getattr(run, part) for run in runs])
                panel.plot(runs[0].eps, values.mean(0), label=arm.name, **line_style(index))
            else:
                panel.plot([], [], label=f"{arm.name}: no head, no certificate", **line_style(index))
        panel.set_xscale("log")
        panel.set_xlabel("change of each feature, in deviations")
        panel.set_title(title, fontsize=10)
        percent_axis(panel, 0.0, 100.0, "5-NN accuracy (%)")
    legend_above(figure, panels[0])
    return figure
