# SPDX-License-Identifier: Apache-2.0
"""The grokking recipes show the events of their headers, and their controls do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.cli.trainer import run

pytestmark = pytest.mark.slow
FELL_BACK = ("grokking_supcon", 1)  # its unseen credence falls back twice, and rests at .79 to .86 in between
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def _watch(folder: Path, recipe: str, *options: str) -> SemanticLandscape:
    cli = run(["fit", "--config", recipe, "--run_dir", str(folder / "run"), *QUIET, *options])
    return next(callback for callback in cli.trainer.callbacks if isinstance(callback, SemanticLandscape))


@pytest.mark.parametrize("seed", range(3), ids=lambda s: f"seed={s}")
@pytest.mark.parametrize("recipe", ["grokking", "grokking_supcon"])
def test_the_events_of_the_header(tmp_path: Path, recipe: str, seed: int) -> None:
    watch = _watch(tmp_path, recipe, f"--seed_everything={seed}")
    changes = [event for event in watch.events if event.is_transition]
    second = "partial" if (recipe, seed) == FELL_BACK else "grokking"
    assert [event.kind for event in changes] == ["memorisation", second]
    completed = [event.step_entered for event in watch.events if event.kind == "completion"]
    assert len(completed) == ((recipe, seed) == FELL_BACK)
    early = [event.kind for event in watch.events].count("early_compression")
    assert early == (recipe == "grokking_supcon")
    assert watch.tracker is not None
    crossing = watch.tracker.trajectory.crossing("credence/val", 0.5)
    assert changes[-1].step_left == pytest.approx(crossing, rel=0.2)
    assert changes[-1].abruptness > 3


@pytest.mark.parametrize(("recipe", "share"), [("grokking", 0.12), ("grokking_supcon", 0.15)])
def test_the_control_does_not_grok(tmp_path: Path, recipe: str, share: float) -> None:
    watch = _watch(tmp_path, recipe, f"--data.train_share={share}")
    assert [event.kind for event in watch.events if event.is_transition] == ["memorisation"]
