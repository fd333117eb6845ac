# SPDX-License-Identifier: Apache-2.0
"""The mean of an epoch is what `LightningModule.log` makes of it, bit for bit, at all times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.training.logged_means import log_epoch_mean

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:.*does not have many workers", "ignore:Checkpoint directory"
)


class Logged(L.LightningModule):
    """A module that logs by `log_epoch_mean`, or by `log`, in steps of training and validation."""

    def __init__(self, plainly: bool, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weights, self.plainly, self.shape = nn.Linear(3, 1), plainly, shape
        self.seen: list[dict[str, float]] = []

    def loss(self, name: str, rows: Tensor) -> Tensor:
        loss: Tensor = self.weights(rows).square().mean().reshape(self.shape)
        if self.plainly:
            self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(rows))
        else:
            log_epoch_mean(self, name, loss, len(rows))
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if batch_idx % 2:
            self.loss("train/odd", batch[0])
        return self.loss("train/loss", batch[0])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.loss("val/loss", batch[0])

    def on_train_batch_end(self, *_: Any) -> None:
        self.note()

    def on_train_epoch_end(self) -> None:
        self.note()

    def note(self) -> None:
        self.seen.append({name: value.item() for name, value in self.trainer.callback_metrics.items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def rows(count: int, seed: int) -> DataLoader[Any]:
    data = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(data), batch_size=8)  # the last batch is shorter


def fitted(folder: Path, module: Logged, **options: Any) -> Logged:
    torch.manual_seed(0)
    for weights in module.parameters():
        nn.init.normal_(weights)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=CSVLogger(folder, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 3, "log_every_n_steps": 2, **options},
    )
    trainer.fit(module, rows(45, 0), [rows(20, 1), rows(12, 2)])
    return module


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2},
        {"val_check_interval": 2},
        {"max_steps": 8},
        {"precision": "bf16-mixed"},
        {"precision": "64-true"},
    ],
    ids=str,
)
def test_the_means_are_those_of_log(tmp_path: Path, options: dict[str, Any]) -> None:
    ours, theirs = (fitted(tmp_path / str(plainly), Logged(plainly), **options) for plainly in (False, True))
    assert ours.seen == theirs.seen
    assert {"train/loss", "train/odd"} <= ours.seen[-1].keys()
    logged = [(tmp_path / str(plainly) / "metrics.csv").read_text() for plainly in (False, True)]
    assert logged[0] == logged[1]
    assert "val/loss/dataloader_idx_1" in logged[0]


def test_log_is_called_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    plain = L.LightningModule.log

    def counted(self: L.LightningModule, name: str, *args: Any, **options: Any) -> None:
        names.append(name)
        plain(self, name, *args, **options)

    monkeypatch.setattr(L.LightningModule, "log", counted)
    fitted(tmp_path, Logged(plainly=False), num_sanity_val_steps=0)
    assert names.count("train/loss") == 3


def test_a_log_of_its_own_is_asked_every_time(tmp_path: Path) -> None:
    names: list[str] = []

    class Own(Logged):
        def log(self, name: str, *args: Any, **options: Any) -> None:
            names.append(name)
            super().log(name, *args, **options)

    fitted(tmp_path, Own(plainly=False), num_sanity_val_steps=0)
    assert names.count("train/loss") == 3 * 6


def test_what_log_refuses_is_refused(tmp_path: Path) -> None:
    ours, theirs = (fitted(tmp_path / str(plainly), Logged(plainly, (1,))) for plainly in (False, True))
    assert ours.seen == theirs.seen

    class Wide(Logged):
        def loss(self, name: str, rows: Tensor) -> Tensor:
            log_epoch_mean(self, name, rows, len(rows))
            return super().loss(f"{name}2", rows)

    with pytest.raises(ValueError, match="the tensor must have a single element"):
        fitted(tmp_path / "wide", Wide(plainly=False), num_sanity_val_steps=0)
