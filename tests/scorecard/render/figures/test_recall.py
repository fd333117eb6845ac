# SPDX-License-Identifier: Apache-2.0
"""Recall against neighbours."""

from __future__ import annotations

import pytest

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.recall import recall_figure


def test_the_right_panel_is_cut_to_what_the_most_compact_arm_needs(small: Scorecard) -> None:
    assert small.arm("narrow").verdict.word.startswith("compact") and small.arm("narrow").spread("n99")[0] == 4
    whole, cut = recall_figure(small).axes
    assert (whole.get_title(), cut.get_title()) == ("full width", "cut to k = 4")
    for index, arm in enumerate(small.arms):
        lines = [score.frontier for score in arm.scores]
        for panel, place in ((whole, -1), (cut, lines[0].dims.index(4))):
            shown = panel.lines[index]
            assert list(shown.get_xdata()) == [1, 2, 5, 10, 20, 50]
            means = [50 * sum(line.recall[place][r] for line in lines) for r in shown.get_xdata()]
            assert list(shown.get_ydata()) == pytest.approx(means)
