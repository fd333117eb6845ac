# SPDX-License-Identifier: Apache-2.0
"""Training dynamics: effective dimension by epoch at the encoder's output and at the head's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.figures.style import legend_above, line_style, new_figure
from lightning_monocon.scorecard.history import mean_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD = "val/effective_dimension"
ENCODER = "val/encoder/effective_dimension"
_PANELS = ((ENCODER, "encoder output"), (HEAD, "embedding (head output)"))


def dynamics_figure(card: Scorecard) -> Figure | None:
    """Left: n99 of the encoder's output; right: n99 of the embedding. None if no run kept a record."""
    from matplotlib.ticker import MaxNLocator

    trained = [(index, arm) for index, arm in enumerate(card.arms) if arm.histories]
    if not any(mean_line(arm.histories, name)[0] for _, arm in trained for name in (HEAD, ENCODER)):
        return None
    figure, panels = new_figure(columns=2, width=9.0, height=3.8)
    for panel, metric, title in zip(
        panels, (ENCODER, HEAD), ("encoder output", "embedding (head output)"), strict=True
    ):
        for index, arm in trained:
            _draw(panel, arm, metric, index)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylabel("effective dimension n99")
    bottom, top = 0.0, max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(bottom, top)
    legend_above(figure, panels[1] if panels[1].lines else panels[0])
    return figure


def _draw(panel: Axes, arm: Arm, metric: str, index: int) -> None:
    epochs, mean, low, high = mean_line(arm.histories, metric)
    if not epochs:
        return
    style = line_style(index)
    every = max(1, len(epochs) // 8)
    panel.plot(epochs, mean, label=arm.name, markevery=(index * every // 4, every), **style)
    if len(arm.histories) > 1:
        panel.fill_between(epochs, low, high, color=style["color"], alpha=0.15, lw=0)
