# SPDX-License-Identifier: Apache-2.0
"""Draw which right answers are proved, and which survive an attack, against the change of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lightning_monocon.scorecard.render.figures.style import legend_above, line_style, new_figure, percent_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Proved(Protocol):
    """Describe what is drawn of a run, as `lightning_monocon.scorecard.certificates.Certificates` has it."""

    @property
    def eps(self) -> Sequence[float]:
        """Changes of the features."""
        ...

    @property
    def proved(self) -> Sequence[float]:
        """Shares that are right and proved."""
        ...

    @property
    def attacked(self) -> Sequence[float]:
        """Shares that are right under an attack."""
        ...


def certificates_figure(found: Mapping[str, Sequence[Proved]], arms: Sequence[str]) -> Figure:
    """Return a figure of the shares that are right and proved (left) and right under an attack (right).

    Args:
        found: The runs of each arm that has a head.
        arms: All arms, in the order of the scorecard, so that each keeps its colour.
    """
    figure, panels = new_figure(columns=2, width=9.0, height=4.0)
    for panel, part, title in zip(
        panels, ("proved", "attacked"), ("right and proved", "right under attack"), strict=True
    ):
        for name, runs in found.items():
            values = 100 * np.array([getattr(run, part) for run in runs])
            panel.plot(runs[0].eps, values.mean(0), label=name, **line_style(list(arms).index(name)))
        panel.set_xscale("log")
        panel.set_xlabel("change of each feature, in deviations")
        panel.set_title(title, fontsize=10)
    for panel in panels:
        percent_axis(panel, 0.0, 100.0, "5-NN accuracy (%)")
    legend_above(figure, panels[0])
    return figure
