# SPDX-License-Identifier: Apache-2.0
"""Accuracy against bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lightning_monocon.scorecard import EmbeddingSet, Scorecard, build
from lightning_monocon.scorecard.render.figures.storage import storage_figure


def test_a_point_is_the_mean_accuracy_at_so_many_bytes(small: Scorecard) -> None:
    figure = storage_figure(small)
    assert figure is not None
    arm = small.arm("encoder")
    sizes = ([4, 8, 16, 32, 64], [1, 2, 4, 8, 16], [1, 2, 4, 8, 16, 32, 64])
    for panel, storage, costs in zip(figure.axes, ("float32", "int8", "code"), sizes, strict=True):
        assert list(panel.lines[0].get_xdata()) == costs
        lines = [score.line(storage) for score in arm.scores]
        means = [50 * sum(line.knn_accuracy[line.bytes.index(cost)] for line in lines if line) for cost in costs]
        assert list(panel.lines[0].get_ydata()) == pytest.approx(means)


def test_the_last_panel_is_what_codes_leave_above_the_limit_of_gaussian_vectors(
    generator: Callable[[int], torch.Generator],
) -> None:
    rows = torch.randn(1160, 16, generator=generator(0)) * torch.logspace(0, -1, 16)
    labels = (rows[:, 0] > 0).long()
    data = EmbeddingSet(rows[:1100], labels[:1100], rows[1100:], labels[1100:], arm="encoder")
    figure = storage_figure(build({"encoder": [data]}, with_nulls=False))
    assert figure is not None and len(figure.axes) == 4
    codes, limit = figure.axes[3].lines
    at = np.interp(codes.get_xdata(), limit.get_xdata(), limit.get_ydata())
    assert len(at) >= 4
    assert (np.asarray(codes.get_ydata()) > at).all()
    assert [text.get_text() for text in figure.axes[2].texts]


def test_there_is_none_where_only_floats_were_measured(planted: Callable[..., EmbeddingSet]) -> None:
    assert storage_figure(build({"encoder": [planted(rows=(60, 30))]}, brief=True)) is None
