# SPDX-License-Identifier: Apache-2.0
"""The figure of what so many numbers can order."""

from __future__ import annotations

import numpy as np

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.limit import limit_figure


def test_the_line_is_the_published_fit_and_each_arm_a_point(card: Scorecard) -> None:
    (panel,) = limit_figure(card).axes
    line, *points = panel.lines
    k, rows = (np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float))
    assert rows[:3].tolist() == [2, 3, 4]
    expected = np.polynomial.Polynomial([-10.5322, 4.0309, 0.0520, 0.0037])(k[3:])
    np.testing.assert_allclose(rows[3:], expected, atol=0.5)
    shown = {point.get_label(): (point.get_xdata()[0], point.get_ydata()[0]) for point in points}
    assert shown == {arm.name: (card.size_of(arm), 600) for arm in card.arms}


def test_the_size_to_keep_is_that_of_the_bottom_line_for_its_arm_and_n99_for_others(card: Scorecard) -> None:
    small = card.smallest
    assert small is not None
    for arm in card.arms:
        mine = small.within and arm.name == small.arm and small.storage in ("float32", "int8")
        assert card.size_of(arm) == (small.k if mine else max(1, *(score.n99 for score in arm.scores)))
