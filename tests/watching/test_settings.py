# SPDX-License-Identifier: Apache-2.0
"""The settings by which runs are compared."""

from __future__ import annotations

import lightning.pytorch as L
import pytest
import torch

from lightning_monocon.data import DigitsData
from lightning_monocon.data.repeated import RepeatedBlocks
from lightning_monocon.watching.settings import settings_of


@pytest.mark.parametrize(
    ("data", "task"),
    [
        (RepeatedBlocks(64, 12, 2, 4, batch_size=4, steps=2, val_size=4), "64 tokens"),
        (RepeatedBlocks(32, 12, 2, 4, batch_size=4, steps=2, val_size=4), "32 tokens"),
        (DigitsData(batch_size=64), "10 classes"),
    ],
)
def test_the_task_names_the_data_and_its_classes_or_tokens(data: L.LightningDataModule, task: str) -> None:
    class Settings(L.Callback):
        found: dict[str, object] | None = None

        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.found = dict(settings_of(trainer))

    seen = Settings()
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(accelerator="cpu", max_steps=1, limit_val_batches=0, callbacks=[seen], **options)  # type: ignore[arg-type]
    trainer.fit(_Idle(), datamodule=data)
    assert seen.found is not None
    assert seen.found["task"] == f"{type(data).__name__} of {task}"
    assert (seen.found["optimizer"], seen.found["lr"]) == ("SGD", 0.1)


class _Idle(L.LightningModule):
    """Train one number that no data change."""

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: object) -> torch.Tensor:
        return self.number.sum()

    def validation_step(self, batch: object) -> None:
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)
