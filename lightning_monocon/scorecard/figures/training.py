# SPDX-License-Identifier: Apache-2.0
"""Accuracy and loss by epoch: whether the runs had finished learning when they stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_monocon.scorecard.card import Scorecard
from lightning_monocon.scorecard.figures.style import draw_history, epoch_axes, legend_above, new_figure, percent_axis
from lightning_monocon.scorecard.history import EMBEDDING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACCURACY, _LOSS = EMBEDDING + "knn_accuracy", "train/loss"


def training_figure(card: Scorecard) -> Figure | None:
    """Left: 5-NN accuracy on the validation rows; right: the training loss. None if no run recorded either."""
    figure, (left, right) = new_figure(columns=2, width=9.0, height=3.8)
    for index, arm in enumerate(card.arms):
        draw_history(left, arm, _ACCURACY, index, scale=100)
        draw_history(right, arm, _LOSS, index)
    if not left.lines and not right.lines:
        return None
    left.set_title("validation accuracy", fontsize=10)
    right.set_title("training loss", fontsize=10)
    right.set_ylabel("loss")
    percent_axis(left, *(left.get_ylim() if left.lines else (0.0, 100.0)), "5-NN accuracy (%)")
    epoch_axes((left, right))
    legend_above(figure, left, right)
    return figure
