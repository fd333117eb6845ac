# SPDX-License-Identifier: Apache-2.0
"""Draw quality against bytes, and the error of the codes against the fewest bytes that any code needs for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.scorecard.render.figures.distortion import CodeError, distortion_figure
from lightning_monocon.scorecard.render.figures.style import dimension_axis, legend_above, line_style, new_figure
from lightning_monocon.shrink.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(result: Result) -> dict[str, Figure]:
    """Return the figures by file name; that of the limit is missing if no code loses anything."""
    figures = {"shrink.png": bytes_figure(result)}
    losing = [line for line in result.lines if line.error > 0]
    if losing:
        errors = [CodeError(line.family, line.bytes, line.error) for line in losing]
        figures["shrink-limit.png"] = distortion_figure(result.variances.numpy(), errors).figure
    return figures


def bytes_figure(result: Result) -> Figure:
    """Draw every code, the front, the one that was chosen, and the level that was asked for."""
    figure, (panel,) = new_figure(columns=1, width=7.0, height=4.6)
    for place, family in enumerate(result.families):
        mine = [line for line in result.lines if line.family == family]
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
