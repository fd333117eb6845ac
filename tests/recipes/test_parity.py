# SPDX-License-Identifier: Apache-2.0
"""The recipe of sparse parity in a small setting: the network finds the bits that were planted."""

from __future__ import annotations

from pathlib import Path

from lightning_monocon.callbacks.semantic_landscape import SemanticLandscape
from lightning_monocon.cli.trainer import run

SMALL = [
    *(
        "--model.in_features=20",
        "--data.bits=20",
        "--data.train_size=600",
        "--trainer.max_steps=1000",
        "--trainer.log_every_n_steps=5",
    ),
    *("--model.weight_decay=0.6", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
]


def test_the_network_generalises_by_the_planted_bits(tmp_path: Path) -> None:
    cli = run(["fit", "--config", "parity", "--run_dir", str(tmp_path / "run"), *SMALL])
    watch = next(callback for callback in cli.trainer.callbacks if isinstance(callback, SemanticLandscape))
    assert watch.tracker is not None
    assert watch.tracker.chance == 0.5
    assert watch.tracker.trajectory.role("held_out")[-1] > 0.9
    assert 20 < watch.tracker.generalised < 1000, "at chance it has not generalised"
    assert "collapse" not in {event.kind for event in watch.events}, "two scores have no rank to lose"
    first = next(weight for weight in cli.model.head.parameters() if weight.ndim == 2)
    order = first.detach().norm(dim=0).argsort(descending=True)
    assert set(order[:3].tolist()) == {0, 1, 2}
