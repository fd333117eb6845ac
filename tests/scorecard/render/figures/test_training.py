# SPDX-License-Identifier: Apache-2.0
"""Accuracy and loss by epoch."""

from __future__ import annotations

import pytest
from helpers.picture_geometry import check_texts, drawn

from lightning_monocon.runs.record import History
from lightning_monocon.scorecard.render.figures.training import training_figure


def test_accuracy_and_loss_over_epochs_are_those_of_the_record() -> None:
    runs = [History({"train/loss": {0: 4.0, 1: 2.0}, "val/knn_accuracy": {1: share}}) for share in (0.5, 0.7)]
    figure = training_figure({"encoder": runs, "mlp": []})
    assert figure is not None
    accuracy, loss = figure.axes
    (line,) = accuracy.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1], [pytest.approx(60.0)])
    (line,) = loss.lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1], [4.0, 2.0])
    assert (accuracy.get_ylabel(), loss.get_ylabel()) == ("5-NN accuracy (%)", "loss")


def test_where_no_accuracy_was_recorded_the_correlation_is_drawn() -> None:
    run = History({"val/spearman": {0: -0.2, 1: 0.8}, "train/loss": {0: 3.0, 1: 1.0}})
    figure = training_figure({"head": [run]})
    assert figure is not None
    check_texts(drawn(figure))
    left, right = figure.axes
    assert left.get_ylabel() == "Spearman correlation" and [*left.lines[0].get_ydata()] == [-0.2, 0.8]
    assert left.get_ylim()[0] < -0.2 and left.get_xlim() == right.get_xlim()
