# SPDX-License-Identifier: Apache-2.0
"""Draw accuracy against bytes per vector, for plain numbers and the best codes, and what is lost beside the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from lightning_monocon.functional.rate_distortion import distortion_rate
from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.frontier import Held, held_bytes
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

_TITLES = ("float32: 4 bytes a coordinate", "int8: 1 byte", "the best code")
_HELD: tuple[Held, ...] = ("float32", "int8", "code")
_LEAST = 1e-3
"""Share of the variance below which nothing is drawn."""


def storage_figure(card: Scorecard) -> Figure | None:
    """Return a figure with a panel for float32, int8 and the best code; None if these were not measured.

    These panels have the same axes, so that a vertical line compares them at equal bytes. A fourth shows, where codes
    were fitted, the share of the variance that the best of them leaves, and as a dotted line the least that a code of a
    Gaussian of the same covariance must leave.
    """
    if not all(score.rounded and score.codes for arm in card.arms for score in arm.scores):
        return None
    fitted = any(_errors(arm) for arm in card.arms)
    figure, panels = new_figure(columns=3 + fitted, width=10.5 + 3.5 * fitted, height=4.0)
    for place, (panel, title) in enumerate(zip(panels[:3], _TITLES, strict=True)):
        for index, arm in enumerate(card.arms):
            _draw(panel, arm, index, place)
        panel.set_title(title, fontsize=10)
    most = max(4 * arm.width for arm in card.arms)
    floor = min(100 * card.arms[0].scores[0].chance, lowest_point(panels[:3]))
    for panel in panels[:3]:
        percent_axis(panel, floor - 5, 100.0, axis_label(card.truth.measures[0]))
        panel.label_outer()
    _name_codes(panels[2], card)
    if fitted:
        _draw_limits(panels[3], card)
    for panel in panels:
        dimension_axis(panel, [1 << i for i in range(most.bit_length())][::2], "bytes per vector")
        panel.set_xlim(0.9, 1.1 * most)
    legend_above(figure, panels[0])
    return figure


def _name_codes(panel: Axes, card: Scorecard) -> None:
    """Write the winner's code at every other size, at the edge that the curves leave more room at."""
    low, high = panel.get_ylim()
    for best in card.byte_winners[1::2]:
        there = [
            np.interp(best.bytes, np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
            for line in panel.get_lines()
        ]
        above = high - max(there) >= min(there) - low
        panel.annotate(
            best.code.replace(" in ", "\n").replace("dimensions", "dims"),
            (best.bytes, float(above)),
            (0, -3 if above else 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top" if above else "bottom",
            fontsize=6,
        )


def _errors(arm: Arm) -> list[tuple[int, float]]:
    """Return bytes and the share of the variance that is left by the best code, of the first seed."""
    score = arm.scores[0]
    if score.codes is None or score.total_variance <= 0:
        return []
    shares = [error / score.total_variance for error in score.codes.errors]
    return [(size, share) for size, share in zip(score.codes.dims, shares, strict=True) if share > _LEAST]


def _draw_limits(panel: Axes, card: Scorecard) -> None:
    for index, arm in enumerate(card.arms):
        style, found, score = line_style(index), _errors(arm), arm.scores[0]
        if not found:
            continue
        panel.plot(*zip(*found, strict=True), **style)
        sizes = torch.logspace(0, math.log2(found[-1][0]), 60, base=2.0, dtype=torch.float64)
        limit = distortion_rate(score.spectrum, 8 * sizes) / score.spectrum.sum()
        panel.plot(sizes[limit > _LEAST], limit[limit > _LEAST], color=style["color"], linestyle=":", linewidth=1.5)
    panel.set_yscale("log")
    panel.set_title("unexplained variance (dotted: limit)", fontsize=10)
    panel.set_ylabel("share")


def _draw(panel: Axes, arm: Arm, index: int, place: int) -> None:
    lines = [line for score in arm.scores if (line := score.line(_HELD[place]))]
    # Seeds may differ in rank and have their own sizes: one that has fewer numbers keeps all it has.
    dims = [k for k in sorted({k for line in lines for k in line.dims}) if all(line.dims[0] <= k for line in lines)]
    if place == 0:
        # Beyond the rank there is nothing to store.
        rank = max(1, min(score.rank for score in arm.scores))
        dims = [k for k in dims if k & (k - 1) == 0 and k <= rank] or dims[:1]
    values = np.array([[100 * line.means()[line.index(k)] for k in dims] for line in lines])
    costs = [held_bytes(k, lines[0].storage) for k in dims]
    style = line_style(index)
    panel.plot(costs, values.mean(0), label=arm.label, **style)
    if len(lines) > 1:
        panel.fill_between(costs, values.min(0), values.max(0), color=style["color"], alpha=0.15, lw=0)
