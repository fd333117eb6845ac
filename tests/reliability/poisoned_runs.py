# SPDX-License-Identifier: Apache-2.0
"""Short fits in which something becomes NaN or infinite at a chosen step."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import NaNGuard
from lightning_monocon.data.sampling import EpochSampler

Where = Literal["input", "loss", "gradient", "weight", "restore"]
PLACES: tuple[Where, ...] = ("input", "loss", "gradient", "weight", "restore")
BATCHES, BATCH, EPOCHS = 4, 16, 3


class Rows(Dataset[Any]):
    """Four classes; keys are (epoch, index), as `EpochSampler` gives them. One key can be poisoned."""

    def __init__(self, bad: tuple[int, int] | None = None) -> None:
        generator = torch.Generator().manual_seed(1)
        self.labels = torch.arange(BATCHES * BATCH) % 4
        self.rows = torch.randn(len(self.labels), 6, generator=generator) + 2 * torch.eye(6)[self.labels]
        self.bad = bad

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        row = self.rows[key[1]].clone()
        if key == self.bad:
            row[2] = torch.inf
        return row, self.labels[key[1]]

    def __len__(self) -> int:
        return len(self.labels)


class Poisoned(MonoCon):
    """MonoCon with batch norm and dropout that breaks at one global step."""

    def __init__(self, place: Where | None, step: int) -> None:
        encoder = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 8))
        super().__init__(encoder, in_features=8, warmup_epochs=0, lr_encoder=1e-2, lr_head=1e-2)
        self.place, self.step, self.trained = place, step, 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        loss = super().training_step(batch, batch_idx)
        self.trained += 1
        return loss * torch.nan if self._hit("loss") and loss is not None else loss

    def on_after_backward(self) -> None:
        if self._hit("gradient"):
            weight = self.encoder[0].weight  # type: ignore[index]
            weight.grad[0, 0] = torch.nan  # type: ignore[index]

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        hit = self._hit("weight")  # the step is counted when it is made
        super().optimizer_step(*arguments, **options)
        if hit:
            self.encoder[0].weight.data.mul_(1e30).mul_(1e30)  # type: ignore[index,union-attr,operator]

    def _hit(self, place: Where) -> bool:
        return self.place == place and self.trainer.global_step == self.step


def sampler() -> EpochSampler:
    return EpochSampler(BATCHES * BATCH, 0)


def fit(
    folder: Path,
    place: Where | None,
    step: int,
    guard: NaNGuard | None,
    *callbacks: L.Callback,
    ckpt: Path | None = None,
    **options: Any,
) -> tuple[Poisoned, L.Trainer]:
    """Train with a checkpoint after every step; raises what the guard raises."""
    L.seed_everything(0, verbose=False)
    module = Poisoned(place, step)
    bad = (step // BATCHES, sample_at(step, 5)) if place == "input" else None
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[*([guard] if guard else []), saver, *callbacks],
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": EPOCHS, **options},
    )
    with warnings.catch_warnings():
        for text in ("The number of training batches", "You defined a `validation_step`", "`training_step` returned",
                     "Checkpoint directory", "Be aware that when using", ".*does not have many workers"):  # fmt: skip
            warnings.filterwarnings("ignore", text)
        loader = DataLoader(Rows(bad), batch_size=BATCH, sampler=sampler())
        trainer.fit(module, loader, ckpt_path=ckpt, weights_only=True if ckpt else None)
    return module, trainer


def sample_at(step: int, row: int) -> int:
    """Return the sample in one row of a step's batch."""
    order = sampler()
    order.set_epoch(step // BATCHES)
    return list(order)[step % BATCHES * BATCH + row][1]


def poison(checkpoint: Path) -> Path:
    """Write a copy of a checkpoint with a NaN among its weights."""
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["encoder.0.weight"][0, 0] = torch.nan
    out = checkpoint.with_name("poisoned.ckpt")
    torch.save(content, out)
    return out


def saved_steps(folder: Path) -> dict[int, bool]:
    """Return, for each checkpoint by its step, whether all its numbers are finite."""
    found = {}
    for path in folder.glob("step=*.ckpt"):
        content = torch.load(path, weights_only=True)
        moments = [v for s in content["optimizer_states"][0]["state"].values() for v in s.values()]
        values = [*content["state_dict"].values(), *moments]
        found[content["global_step"]] = all(bool(torch.as_tensor(v).isfinite().all()) for v in values)
    return found
