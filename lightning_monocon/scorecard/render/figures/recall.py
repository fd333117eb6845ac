# SPDX-License-Identifier: Apache-2.0
"""Draw Recall@r: how many neighbours one must look at to find the right label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.figures.style import (
    dimension_axis,
    legend_above,
    line_style,
    new_figure,
    percent_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def recall_figure(card: Scorecard) -> Figure | None:
    """Return a figure at full width (left), and with every arm cut to what the most compact one needs (right).

    None if the truth does not measure recall at several depths.
    """
    depths = [int(name.removeprefix("recall@")) for name in card.truth.measures if name.startswith("recall@")]
    if len(depths) < 2:
        return None
    k = _cut(card)
    figure, panels = new_figure(columns=2, width=9.0, height=4.0)
    for panel, budget, title in zip(panels, (None, k), ("full width", f"cut to k = {k}"), strict=True):
        for index, arm in enumerate(card.arms):
            _draw(panel, arm, index, budget, depths)
        dimension_axis(panel, depths, "neighbours r")
        panel.set_xticks(depths)
        panel.set_title(title, fontsize=10)
    low = min(panel.get_ylim()[0] for panel in panels)
    for panel in panels:
        percent_axis(panel, low, 100.0, "Recall@r (%)")
    legend_above(figure, panels[0])
    return figure


def _cut(card: Scorecard) -> int:
    """Return the fewest dimensions that a compact arm needs, or else 8, rounded up to a size of the tables."""
    compact = [max(score.n99 for score in arm.scores) for arm in card.arms if arm.verdict.word == "compact"]
    wanted = max(2, min(compact, default=8))
    return next((k for k in card.dims if k >= wanted), card.dims[-1])


def _draw(panel: Axes, arm: Arm, index: int, budget: int | None, depths: Sequence[int]) -> None:
    lines = [score.frontier for score in arm.scores]
    places = [-1 if budget is None else line.index(budget) for line in lines]
    shared = [r for r in depths if all(f"recall@{r}" in line.values for line in lines)]
    values = 100 * np.array(
        [[line.means(f"recall@{r}")[place] for r in shared] for line, place in zip(lines, places, strict=True)]
    )
    style = line_style(index)
    panel.plot(shared, values.mean(0), label=arm.name, **style)
    if len(lines) > 1:
        panel.fill_between(shared, values.min(0), values.max(0), color=style["color"], alpha=0.15, lw=0)
