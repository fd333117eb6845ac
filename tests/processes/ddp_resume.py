# SPDX-License-Identifier: Apache-2.0
"""One of two gloo ranks: train whole, then resume from its checkpoints; run by tests/callbacks/test_ddp_resume.py."""

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import BestCheckpoint, ExactResume, RollingCheckpoint
from lightning_monocon.data.sampling import EpochSampler
from lightning_monocon.data.split_data import KeyedData

warnings.simplefilter("ignore")
ROWS, BATCH = 56, 4  # seven steps on each of two ranks


class Items(TensorDataset):
    def __getitem__(self, item: Any) -> tuple[Tensor, ...]:
        return super().__getitem__(item[1])


class Data(KeyedData):
    def train_dataloader(self) -> DataLoader[Any]:
        sampler = EpochSampler(ROWS, self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * BATCH)
        generator = torch.Generator().manual_seed(1)
        return DataLoader(Items(torch.randn(ROWS, 3, generator=generator)), BATCH, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(8, 3)), BATCH)


class Moved(L.LightningModule):
    """Batch norm, dropout, and a buffer that hooks move."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        self.register_buffer("moved", torch.ones(2))

    def on_train_epoch_start(self) -> None:
        self.moved[0] *= 1.1

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.moved[1] *= 1.01

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (self.net(batch[0]) * self.moved.prod()).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.net(batch[0]).square().mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 1e-2)


def fit(folder: Path, resume: Path | None = None, **options: Any) -> dict[str, Tensor]:
    L.seed_everything(0 if resume is None else 7, verbose=False)
    saving = [RollingCheckpoint(str(folder), 9, every_n_steps=3), BestCheckpoint(str(folder), "val/loss", "min")]
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=3, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[ExactResume(seed=0), *saving], **options,
    )  # fmt: skip
    module = Moved()
    trainer.fit(module, datamodule=Data(seed=1), ckpt_path=resume, weights_only=True)
    moments = trainer.optimizers[0].state_dict()["state"][0]
    return {**module.state_dict(), **moments, "steps": torch.tensor(trainer.global_step)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    ends = {"whole": fit(folder / "whole", val_check_interval=3)}
    for age in (1, 3, 5, 6):  # after 18, 12, 6 and 3 of 21 steps
        ends[str(age)] = fit(folder / str(age), folder / "whole" / f"last-{age}.ckpt", val_check_interval=3)
    fit(folder / "accumulated", val_check_interval=5, accumulate_grad_batches=4)
    torch.save(ends, folder / f"rank{torch.distributed.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
