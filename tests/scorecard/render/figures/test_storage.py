# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.render.figures.storage import storage_figure


def test_a_point_is_the_mean_accuracy_at_so_many_bytes(small: Scorecard) -> None:
    figure = storage_figure(small)
    assert figure is not None
    arm = small.arm("encoder")
    for panel, storage, costs in zip(
        figure.axes, ("float32", "int8", "binary"), ([4, 8, 16, 32, 64], [1, 2, 4, 8, 16], [1, 2]), strict=True
    ):
        assert list(panel.lines[0].get_xdata()) == costs
        lines = [score.line(storage) for score in arm.scores]
        means = [50 * sum(line.knn_accuracy[line.bytes.index(cost)] for line in lines if line) for cost in costs]
        if storage != "binary":  # eight bits share a byte, and only whole bytes are drawn
            assert list(panel.lines[0].get_ydata()) == pytest.approx(means)


def test_there_is_none_where_only_floats_were_measured(planted: Callable[..., EmbeddingSet]) -> None:
    assert storage_figure(build({"encoder": [planted(rows=(60, 30))]}, brief=True)) is None
