# SPDX-License-Identifier: Apache-2.0
"""Effective dimension by epoch."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lightning_monocon.runs.record import History
from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.dynamics import dynamics_figure
from lightning_monocon.scorecard.render.figures.style import PHASE_COLOURS


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


def _over(values: list[float], *names: str) -> History:
    return History({f"val/{name}": dict(enumerate(values)) for name in names})


def test_each_measure_has_its_own_row_and_strips_of_phases(small: Scorecard) -> None:
    rise, fall = [10.0 + 4 * epoch for epoch in range(10)], [46.0 - 3 * epoch for epoch in range(10)]
    ranks = _over([*rise, *fall], "effective_dimension", "effective_rank", "encoder/effective_rank")
    slopes = _over([1 / value for value in (*rise, *fall)], "alpha_req")  # its inverse goes the same way
    arm = replace(small.arms[0], histories=(History({**ranks.values, **slopes.values}),))
    figure = dynamics_figure(replace(small, arms=(arm,)))
    assert figure is not None
    labels = [panel.get_ylabel() for panel in figure.axes[1::2]]
    assert labels == ["effective dimension n99", "effective rank (RankMe)", "alpha-ReQ"]
    colours = [to_hex(PHASE_COLOURS[name]) for name in ("entropy-seeking", "compression-seeking")]
    for panel in (figure.axes[1], figure.axes[2], figure.axes[3], figure.axes[5]):
        strips = [patch for patch in panel.patches if isinstance(patch, Rectangle)]
        assert [(to_hex(strip.get_facecolor()), strip.get_x(), strip.get_width()) for strip in strips] == [
            (colours[0], 0, 9),
            (colours[1], 9, 10),
        ]
        bottom = panel.transData.inverted().transform(panel.transAxes.transform((0, 0.05)))[1]
        assert min(panel.lines[0].get_ydata()) > bottom, "a line runs through the strips"
    marks = [panel.containers[0].lines[0].get_marker() for panel in (figure.axes[3], figure.axes[5])]
    assert marks == ["v", "^"]
    assert [text.get_text() for text in figure.legends[-1].get_texts()] == ["entropy-seeking", "compression-seeking"]


def test_strips_of_two_arms_lie_above_each_other(small: Scorecard) -> None:
    values = [10.0 + 4 * epoch for epoch in range(10)]
    arms = tuple(replace(arm, histories=(_over(values, "effective_rank"),)) for arm in small.arms[:2])
    figure = dynamics_figure(replace(small, arms=arms))
    assert figure is not None
    first, second = (patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle))
    assert first.get_y() + first.get_height() < second.get_y()
