# SPDX-License-Identifier: Apache-2.0
"""Draw the figures of a landscape and write them, without Matplotlib's import before the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.runs.files import whole
from lightning_monocon.watching.files import DYNAMICS, FIGURE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(tracker: LandscapeTracker) -> Figure:
    """Draw the landscape of a tracker."""
    from lightning_monocon.watching.figure import draw_landscape

    return draw_landscape(tracker.trajectory, tracker.graph())


def write_figures(tracker: LandscapeTracker, folder: Path) -> Figure:
    """Write the landscape and, if the geometry was measured twice or more, its phases; return the former."""
    from lightning_monocon.watching.geometry_figure import draw_dynamics

    figure, geometry = draw(tracker), draw_dynamics(tracker.trajectory)
    save_figure(figure, folder / FIGURE)
    if geometry is not None:
        save_figure(geometry, folder / DYNAMICS)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with whole(path) as place:
        figure.savefig(place, dpi=130, format="png")
