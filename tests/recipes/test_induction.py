# SPDX-License-Identifier: Apache-2.0
"""The recipe of induction in a small setting: two layers learn it at one time, and one layer never does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.picture_geometry import check_discs, check_texts, drawn, texts

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.cli.trainer import run
from lightning_monocon.landscape import LandscapeTracker
from lightning_monocon.watching.figure import draw_landscape

SMALL = [
    *("--data.vocabulary=64", "--data.context=64", "--data.shortest=8", "--data.longest=16"),
    *("--model.vocabulary=64", "--model.encoder.init_args.vocabulary=64", "--model.encoder.init_args.context=64"),
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]


def _watch(folder: Path, *options: str) -> SemanticLandscape:
    cli = run(["fit", "--config", "induction", "--run_dir", str(folder / "run"), *SMALL, *options])
    return next(callback for callback in cli.trainer.callbacks if isinstance(callback, SemanticLandscape))


def test_two_layers_learn_induction_at_one_time(tmp_path: Path) -> None:
    watch = _watch(tmp_path, "--data.steps=700")
    (event,) = (event for event in watch.events if event.is_transition)
    assert event.kind == "acquisition"
    assert watch.tracker is not None
    trajectory = watch.tracker.trajectory
    score = trajectory.column("credence/val/repeated") - trajectory.column("credence/val/first")
    halfway = trajectory.column("step")[np.argmax(score >= score[-1] / 2)]
    assert event.step_left == pytest.approx(halfway, rel=0.1)
    assert {name: round(change, 1) for name, change in event.change.items() if name.endswith("first")} == {
        "train/first": 0.0,
        "val/first": 0.0,
    }
    _check_figure(watch.tracker)


def _check_figure(tracker: LandscapeTracker) -> None:
    """In the figure of four strata no label, arrow or disc covers another, and all strata are named."""
    figure = drawn(draw_landscape(tracker.trajectory, tracker.graph()))
    check_texts(figure)
    check_discs(figure)
    assert {*tracker.strata.names} <= {text for text, _ in texts(figure)} and len(tracker.strata.names) == 4


@pytest.mark.slow
def test_one_layer_never_learns_it(tmp_path: Path) -> None:
    watch = _watch(tmp_path, "--data.steps=1500", "--model.encoder.init_args.layers=1")
    assert [event for event in watch.events if event.is_transition] == []
