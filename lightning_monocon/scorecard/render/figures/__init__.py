# SPDX-License-Identifier: Apache-2.0
"""Figures of the scorecard as Matplotlib ``Figure`` objects; nothing here touches pyplot or a display."""

from __future__ import annotations

from lightning_monocon.scorecard.render.figures.correlation import correlation_figure
from lightning_monocon.scorecard.render.figures.dynamics import dynamics_figure
from lightning_monocon.scorecard.render.figures.frontier import frontier_figure
from lightning_monocon.scorecard.render.figures.recall import recall_figure
from lightning_monocon.scorecard.render.figures.spectrum import spectrum_figure
from lightning_monocon.scorecard.render.figures.storage import storage_figure
from lightning_monocon.scorecard.render.figures.style import save
from lightning_monocon.scorecard.render.figures.training import training_figure

__all__ = [
    "correlation_figure",
    "dynamics_figure",
    "frontier_figure",
    "recall_figure",
    "save",
    "spectrum_figure",
    "storage_figure",
    "training_figure",
]
