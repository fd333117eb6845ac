# SPDX-License-Identifier: Apache-2.0
"""Metrics inside a Lightning run, at the precisions that cast modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.plain_runs import trainer
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from lightning_monocon.functional import moments
from lightning_monocon.metrics import EffectiveDimension, NeighbourScores, ReconstructionError, TotalVariance


class Probe(LightningModule):
    """Validates two loaders, gallery and query, with a collection that is a child of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        metrics = [
            EffectiveDimension(small_sample="ignore"),
            ReconstructionError(small_sample="ignore"),
            TotalVariance(),
            NeighbourScores(),
        ]
        self.metrics = MetricCollection(metrics)
        self.seen: list[Tensor] = []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        rows, labels = batch
        embeddings = self.layer(rows.to(self.layer.weight.dtype))
        self.metrics.update(embeddings=embeddings, labels=labels, role=("gallery", "query")[dataloader_idx])
        if dataloader_idx == 0:
            self.seen.append(embeddings.detach().clone())

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.metrics.compute())


@pytest.mark.filterwarnings("ignore:`isinstance.treespec:FutureWarning")  # Lightning's loader, with torch 2.13
@pytest.mark.filterwarnings("ignore:The 'val_dataloader' does not have many workers")
@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "16-true", "bf16-mixed", "64-true"])
def test_states_are_exact_at_every_precision(precision: Any, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(300, 6, generator=generator), torch.randint(4, (300,), generator=generator))
    module = Probe()
    run = trainer(precision=precision, default_root_dir=tmp_path)
    logged = run.validate(module, [DataLoader(data, batch_size=64), DataLoader(data, batch_size=64)], verbose=False)
    state = module.metrics["TotalVariance"].statistics("gallery")
    truth = moments(torch.cat(module.seen))
    torch.testing.assert_close(state.rows, torch.tensor(300.0, dtype=torch.float64))
    torch.testing.assert_close(state.comoment, truth.comoment, rtol=1e-10, atol=1e-10)
    assert set(logged[0]) == {"EffectiveDimension", "TotalVariance", "rmse", "fvu", "dimension"} | {
        "knn_accuracy",
        "recall@1",
        "recall@5",
    }
