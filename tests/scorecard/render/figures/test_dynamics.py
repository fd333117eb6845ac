# SPDX-License-Identifier: Apache-2.0
"""Effective dimension by epoch."""

from __future__ import annotations

from dataclasses import replace

from lightning_monocon.runs.record import History
from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.dynamics import dynamics_figure


def test_the_encoder_is_on_the_left_and_the_embedding_on_the_right(small: Scorecard) -> None:
    history = History(
        {"val/encoder/effective_dimension": {0: 9.0, 2: 8.0}, "val/effective_dimension": {0: 5.0, 2: 3.0}}
    )
    figure = dynamics_figure(replace(small, arms=(replace(small.arms[1], histories=(history,)),)))
    assert figure is not None
    shown = [(list(panel.lines[0].get_xdata()), list(panel.lines[0].get_ydata())) for panel in figure.axes]
    assert shown == [([0, 2], [9.0, 8.0]), ([0, 2], [5.0, 3.0])]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_there_is_none_without_a_record(small: Scorecard) -> None:
    assert dynamics_figure(small) is None


def test_turns_of_the_geometry_are_marked_with_their_intervals(small: Scorecard) -> None:
    rise, fall = [10.0 + 4 * epoch for epoch in range(10)], [46.0 - 3 * epoch for epoch in range(10)]
    points = dict(enumerate([*rise, *fall]))
    history = History({"val/effective_dimension": points})
    figure = dynamics_figure(replace(small, arms=(replace(small.arms[0], histories=(history,)),)))
    assert figure is not None
    ((mark, caps, _),) = [each.lines for each in figure.axes[1].containers]
    assert (mark.get_marker(), mark.get_xdata()[0], mark.get_ydata()[0]) == ("v", 9, 46)
    assert [cap.get_xdata()[0] for cap in caps] == [8, 10]
    assert not figure.axes[0].containers
