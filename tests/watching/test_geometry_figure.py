# SPDX-License-Identifier: Apache-2.0
"""The geometry of a probe is drawn with its phases and the intervals of their ends."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_monocon.landscape.phases import trajectory_phases
from lightning_monocon.landscape.trajectory import Trajectory
from lightning_monocon.scorecard.render.figures.style import PHASE_COLOURS
from lightning_monocon.watching.geometry_figure import draw_dynamics


def recorded(measured: int = 80) -> Trajectory:
    """A run whose rank falls, rises and falls again, as its exponent mirrors."""
    trajectory = Trajectory(("train", "val"))
    steps = np.unique(np.geomspace(1, 5_000, 80).astype(int))
    ranks = np.exp(np.interp(np.log(steps), np.log([1, 30, 800, 5_000]), np.log([30, 15, 50, 25])))
    for number, (step, rank) in enumerate(zip(steps.tolist(), ranks.tolist(), strict=True)):
        geometry = [rank, rank / 2, 10 / rank, float(round(rank))] if number < measured else [np.nan] * 4
        trajectory.append(step, None, [0.5] * 6 + geometry)
    return trajectory


def test_each_measure_has_a_panel_with_its_phases() -> None:
    trajectory = recorded()
    figure = draw_dynamics(trajectory)
    assert figure is not None
    top, *panels = figure.axes
    assert top.get_ylabel() == "mean credence"
    assert [panel.get_ylabel() for panel in panels] == ["RankMe", "alpha-ReQ", "n99"]
    for panel, (name, phases) in zip(panels, trajectory_phases(trajectory).items(), strict=True):
        assert len(phases) == 3
        assert len(panel.patches) == 3
        marks = [each.lines for each in panel.containers]
        assert [mark[0].get_xdata()[0] for mark in marks] == [phase.end + 1 for phase in phases[:-1]]
        assert [mark[0].get_marker() for mark in marks] == (["v", "^"] if name == "alpha_req" else ["^", "v"])
        for mark, phase in zip(marks, phases[:-1], strict=True):
            assert [cap.get_xdata()[0] for cap in mark[1]] == pytest.approx([phase.earliest + 1, phase.latest + 1])
        assert panel.get_ylim()[0] >= 0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(PHASE_COLOURS)


@pytest.mark.parametrize("measured", [0, 1])
def test_there_is_no_figure_of_less_than_two_measurements(measured: int) -> None:
    assert draw_dynamics(recorded(measured)) is None


def test_a_measure_without_a_phase_is_drawn_all_the_same() -> None:
    figure = draw_dynamics(recorded(3))
    assert figure is not None
    assert all(not panel.patches and len(panel.lines) == 1 for panel in figure.axes[1:])
    assert not figure.legends
