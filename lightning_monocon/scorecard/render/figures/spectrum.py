# SPDX-License-Identifier: Apache-2.0
"""Draw the spectrum of each arm: how the variance is spread over principal components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_monocon.scorecard.card import Arm, Scorecard
from lightning_monocon.scorecard.render.figures.style import dimension_axis, legend_above, line_style, new_figure
from lightning_monocon.scorecard.scores import VARIANCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def spectrum_figure(card: Scorecard) -> Figure:
    """Return a figure of the variance that k components leave unexplained (left), and of the eigenvalues (right).

    The unexplained share has a logarithmic axis, on which the last per cent, which decides n99, is visible.
    """
    figure, (left, right) = new_figure(columns=2, width=9.0, height=4.0)
    for index, arm in enumerate(card.arms):
        style = line_style(index)
        values = _mean_spectrum(arm)
        order = np.arange(1, len(values) + 1)
        unexplained = 1 - np.cumsum(values) / max(values.sum(), np.finfo(float).tiny)
        marks = [k - 1 for k in card.dims if k <= len(values)]
        left.plot(order[:-1], np.maximum(unexplained[:-1], 1e-8), label=arm.name, markevery=marks[:-1], **style)
        right.plot(order, np.maximum(values, 1e-10), markevery=marks, **style)
    left.axhline(1 - VARIANCE, color="0.4", linewidth=0.8)
    left.set_title("n99 is read at the grey line, 1 %", fontsize=10)
    left.set_ylabel("unexplained share of variance")
    left.set_ylim(1e-5, 1.0)
    right.set_ylabel("variance along the component (unit rows)")
    right.set_ylim(1e-8, 1.0)  # unit rows have no variance above 1
    for panel in (left, right):
        panel.set_yscale("log")
        dimension_axis(panel, card.dims, "principal component k")
    legend_above(figure, left)
    return figure


def _mean_spectrum(arm: Arm) -> np.ndarray:
    """Return the eigenvalues ``(D,)`` averaged over seeds; zeros where all rows are equal."""
    mean: np.ndarray = np.mean([score.spectrum.nan_to_num(0.0).numpy() for score in arm.scores], axis=0)
    return mean
