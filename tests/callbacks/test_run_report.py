# SPDX-License-Identifier: Apache-2.0
"""The report of a single run: each arm is drawn by what the run recorded of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from helpers.plain_runs import Plain, clusters, loader, trainer
from lightning.pytorch.loggers import CSVLogger
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_monocon.scorecard as package
from lightning_monocon.callbacks import EmbeddingMetrics, RunRecord, RunReport
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.module import MonoCon
from lightning_monocon.runs.record import read_history
from lightning_monocon.scorecard import EmbeddingSet, Scorecard

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:The '.*_dataloader' does not have many"
)


def _fit_once(callback: L.Callback, folder: Path) -> None:
    rows = DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 2), batch_size=8)
    module = MonoCon(nn.Linear(4, 4), head="linear", in_features=4, out_features=2, warmup_epochs=0)
    trainer(callback, default_root_dir=folder).fit(module, rows, rows)


def test_encoder_and_head_are_drawn_by_their_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, seen = package.draw, {}

    def watched(card: Scorecard, sets: Iterable[EmbeddingSet]) -> dict[str, Figure]:
        seen["card"], seen["figures"] = card, draw(card, sets)
        return seen["figures"]

    monkeypatch.setattr(package, "draw", watched)
    report = RunReport(str(tmp_path), on_error="raise")
    run = trainer(EmbeddingMetrics(), RunRecord(str(tmp_path)), report, max_epochs=2)
    encoder = SmallCNN(in_channels=1, widths=(4, 8))
    run.fit(MonoCon(encoder, head="linear", out_features=3, warmup_epochs=0), DigitsData(batch_size=256))
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
    assert all((tmp_path / name).stat().st_size > 10_000 for name in seen["figures"])
    assert [len(panel.lines) for panel in seen["figures"]["dynamics.png"].axes] == [1, 2]


@pytest.mark.parametrize("metric", ["val/spearman", "train/loss"])
def test_a_run_without_a_scorecard_leaves_its_curves(metric: str, tmp_path: Path) -> None:
    """One validation loader gives no gallery, so there is nothing to score; the record is drawn all the same."""
    rows = [{"epoch": epoch, "step": epoch, "metrics": {metric: 0.1 * epoch}} for epoch in range(5)]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _fit_once(RunReport(str(tmp_path), on_error="raise"), tmp_path)
    assert (tmp_path / "training.png").stat().st_size > 10_000
    assert not (tmp_path / "scorecard.json").exists()


def test_a_figure_is_drawn_once_for_the_folder_and_its_csv_logger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = Figure.savefig, []
    monkeypatch.setattr(Figure, "savefig", lambda self, *given, **how: [drawn.append(given), draw(self, *given, **how)])
    rows = [{"epoch": epoch, "step": epoch, "metrics": {"train/loss": 0.1 * epoch}} for epoch in range(5)]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    module = MonoCon(nn.Linear(4, 4), head="linear", in_features=4, out_features=2, warmup_epochs=0)
    batches = DataLoader(TensorDataset(torch.randn(8, 4), torch.arange(8) % 2), batch_size=8)
    report = RunReport(str(tmp_path), on_error="raise")
    trainer(report, logger=CSVLogger(tmp_path, name="csv"), log_every_n_steps=1).fit(module, batches, batches)
    copied = tmp_path / "csv" / "version_0" / "figures" / "training.png"
    assert len(drawn) == 1 and copied.read_bytes() == (tmp_path / "training.png").read_bytes()


def test_a_run_that_recorded_nothing_by_epoch_leaves_no_empty_picture(tmp_path: Path) -> None:
    _fit_once(RunReport(str(tmp_path), on_error="raise"), tmp_path)
    assert not list(tmp_path.glob("*.png"))


def test_rows_that_cannot_be_scored_do_not_fail_a_finished_run(tmp_path: Path) -> None:
    rows, _ = clusters(26, 0)
    one_class = loader((rows, torch.zeros(26, dtype=torch.long)))
    with pytest.warns(UserWarning, match="The run has no scorecard: `gallery_labels` must hold at least 2 classes"):
        trainer(RunReport(str(tmp_path))).fit(Plain(), one_class, [one_class, one_class])
