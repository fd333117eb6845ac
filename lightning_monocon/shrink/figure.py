# SPDX-License-Identifier: Apache-2.0
"""Draw quality against bytes: every code, the front, the one that was chosen, and the level that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.scorecard.render.figures.style import dimension_axis, legend_above, line_style, new_figure
from lightning_monocon.shrink.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bytes_figure(result: Result) -> Figure:
    """Return the figure of a result, with 95 % intervals over the certifying queries."""
    figure, (panel,) = new_figure(columns=1, width=7.0, height=4.6)
    families = sorted({line.candidate.name.rpartition("-")[0] for line in result.lines})
    for place, family in enumerate(families):
        mine = [line for line in result.lines if line.candidate.name.rpartition("-")[0] == family]
        means = [result.estimate(line) for line in mine]
        sizes = [line.bytes for line in mine]
        style = line_style(place)
        panel.plot(sizes, [mean for mean, _, _ in means], label=family, **style)
        panel.vlines(sizes, [low for _, low, _ in means], [high for _, _, high in means], color=style["color"], lw=1)
    front = [(line.bytes, result.estimate(line)[0]) for line in result.front]
    panel.plot(*zip(*front, strict=True), color="0.75", lw=6, zorder=0, label="front", solid_capstyle="round")
    asked = result.question.keep * float(result.whole[result.parts.certify].mean())
    panel.axhline(asked, color="0.4", ls=":", lw=1.2, label=f"asked: {asked:.3f}")
    estimate = result.estimate(result.chosen)[0]
    panel.plot([result.chosen.bytes], [estimate], "o", ms=13, mfc="none", mec="#D55E00", mew=2, label="chosen")
    dimension_axis(panel, sorted({line.bytes for line in result.lines}), "bytes per vector")
    panel.set_ylabel(result.task.truth.measures[0])
    legend_above(figure, panel)
    return figure
