# SPDX-License-Identifier: Apache-2.0
"""A module that is not ours, its rows, and a silent trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Plain(L.LightningModule):
    """A module that is not ours: its steps return what it is given."""

    def __init__(self, output: Any = None) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.output = output

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        inputs, labels = batch
        return self.output or {"embeddings": inputs, "features": inputs[:, :4], "labels": labels}

    test_step = validation_step
    predict_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(*callbacks: L.Callback, **options: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 1, "enable_checkpointing": False, "logger": False, **options},
    )


def clusters(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (rows,), generator=generator)
    return torch.randn(rows, 8, generator=generator) + 2 * nn.functional.one_hot(labels, 8), labels


def loader(data: tuple[Tensor, Tensor]) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*data), batch_size=13)


def four_classes(rows: int, seed: int, *, shuffle: bool = False) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 4
    inputs = torch.randn(rows, 8, generator=generator) + 2 * torch.eye(8)[labels]
    order = torch.Generator().manual_seed(9)
    return DataLoader(TensorDataset(inputs, labels), batch_size=16, shuffle=shuffle, generator=order)
