# SPDX-License-Identifier: Apache-2.0
"""The report of a single run: each arm is drawn by what the run recorded of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lightning.pytorch as L
import pytest
from matplotlib.figure import Figure

import lightning_monocon.scorecard as package
from lightning_monocon.callbacks import EmbeddingMetrics, RunRecord, RunReport
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.module import MonoCon
from lightning_monocon.scorecard import EmbeddingSet, Scorecard
from lightning_monocon.scorecard.history import read_history


@pytest.mark.filterwarnings("ignore:The number of training batches", "ignore:The '.*_dataloader' does not have many")
def test_encoder_and_head_are_drawn_by_their_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, seen = package.draw, {}

    def watched(card: Scorecard, sets: Iterable[EmbeddingSet]) -> dict[str, Figure]:
        seen["card"], seen["figures"] = card, draw(card, sets)
        return seen["figures"]

    monkeypatch.setattr(package, "draw", watched)
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EmbeddingMetrics(), RunRecord(str(tmp_path)), RunReport(str(tmp_path), on_error="raise")],
    )
    encoder = SmallCNN(in_channels=1, widths=(4, 8))
    trainer.fit(MonoCon(encoder, head="linear", out_features=3, warmup_epochs=0), DigitsData(batch_size=256))
    record = read_history(tmp_path / "record.jsonl")
    below, above = (record.line(f"val/{where}knn_accuracy") for where in ("encoder/", ""))
    assert below != above and len(below[0]) == 2
    accuracy, loss = seen["figures"]["training.png"].axes
    shown = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in accuracy.lines}
    assert shown == {
        name: (epochs, pytest.approx([100 * value for value in values]))
        for name, (epochs, values) in (("encoder", below), ("head", above))
    }
    assert [line.get_label() for line in loss.lines] == ["head"]
    assert [len(panel.lines) for panel in seen["figures"]["dynamics.png"].axes] == [1, 2]
