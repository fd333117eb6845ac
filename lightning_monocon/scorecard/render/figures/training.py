# SPDX-License-Identifier: Apache-2.0
"""Draw accuracy and loss by epoch, which show whether the runs had finished learning when they stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_monocon.runs.record import EMBEDDING, History
from lightning_monocon.scorecard.render.figures.style import (
    draw_history,
    epoch_axes,
    legend_above,
    new_figure,
    percent_axis,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACCURACY, _SIMILARITY, _LOSS = EMBEDDING + "knn_accuracy", EMBEDDING + "spearman", "train/loss"


def training_figure(runs: Mapping[str, Sequence[History]]) -> Figure | None:
    """Return a figure of validation accuracy (left) and training loss (right); None if no run recorded either.

    Where no accuracy was recorded, because the data have no classes, the left panel shows Spearman's correlation with
    the similarity of sentences.
    """
    is_similarity = not _recorded(runs, _ACCURACY) and _recorded(runs, _SIMILARITY)
    metric, scale = (_SIMILARITY, 1.0) if is_similarity else (_ACCURACY, 100.0)
    figure, (left, right) = new_figure(columns=2, width=9.0, height=3.8)
    for index, (name, histories) in enumerate(runs.items()):
        draw_history(left, name, histories, metric, index, scale)
        draw_history(right, name, histories, _LOSS, index)
    if not left.lines and not right.lines:
        return None
    left.set_title("on validation rows", fontsize=10)
    right.set_title("on training batches", fontsize=10)
    right.set_ylabel("loss")
    if is_similarity:
        left.set_ylabel("Spearman correlation")
    else:
        percent_axis(left, *(left.get_ylim() if left.lines else (0.0, 100.0)), "5-NN accuracy (%)")
    epoch_axes((left, right))
    legend_above(figure, left, right)
    return figure


def _recorded(runs: Mapping[str, Sequence[History]], metric: str) -> bool:
    return any(history.line(metric)[0] for histories in runs.values() for history in histories)
