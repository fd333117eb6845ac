# SPDX-License-Identifier: Apache-2.0
"""Accuracy against kept dimensions."""

from __future__ import annotations

import pytest

from lightning_monocon.scorecard import Scorecard
from lightning_monocon.scorecard.render.figures.frontier import frontier_figure


def test_lines_are_mean_accuracies_and_rings_are_at_n99(small: Scorecard) -> None:
    whole, upper = frontier_figure(small).axes
    lines = {line.get_label(): line for line in whole.lines if not line.get_label().startswith("_")}
    rings = [line for line in whole.lines if line.get_label().startswith("_")]
    for arm, ring in zip(small.arms, rings, strict=True):
        assert list(lines[arm.name].get_xdata()) == list(small.dims)
        shares = [100 * sum(score.knn_accuracy_at(k) for score in arm.scores) / 2 for k in small.dims]
        assert list(lines[arm.name].get_ydata()) == pytest.approx(shares)
        assert list(ring.get_xdata()) == [arm.spread("n99")[0]]
    best = max(max(line.get_ydata()) for line in lines.values())
    assert upper.get_ylim()[0] == pytest.approx(best - 5)
