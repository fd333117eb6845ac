# SPDX-License-Identifier: Apache-2.0
"""Runs whose state every kind of hook moves, and what of two runs differs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import BestCheckpoint, ExactResume, RollingCheckpoint
from lightning_monocon.data.sampling import EpochSampler
from lightning_monocon.data.split_data import KeyedData
from lightning_monocon.loggers.record import RecordLogger

EPOCHS, BATCHES, ROWS = 3, 7, 4


def rows(count: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(4)
    return TensorDataset(torch.randn(count, 3, generator=generator), torch.randn(count, 1, generator=generator))


class Items(TensorDataset):
    """Takes the (epoch, index) keys of an `EpochSampler`."""

    def __getitem__(self, item: Any) -> tuple[Tensor, ...]:
        return super().__getitem__(item[1])


class Data(KeyedData):
    """Seven batches an epoch, in an order that is a function of the epoch."""

    def train_dataloader(self) -> DataLoader[Any]:
        sampler = EpochSampler(BATCHES * ROWS, self.seed)
        epoch, batch = self._start()
        if epoch or batch:
            sampler.resume(epoch, batch * ROWS)
        return DataLoader(Items(*rows(BATCHES * ROWS).tensors), ROWS, sampler=sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(rows(8), 4)


class Shuffled(L.LightningDataModule):
    """A plain loader that draws its order."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(rows(BATCHES * ROWS), ROWS, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(rows(8), 4)


class Moved(L.LightningModule):
    """Dropout and batch norm; each hook of an epoch and of a step moves a buffer that the loss depends on."""

    scheduler: Callable[[torch.optim.Optimizer, L.Trainer], Any] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.every: dict[str, Any] = {}  # how the scheduler is called
        self.net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 1))
        self.register_buffer("moved", torch.ones(7))
        self.of_the_epoch = 0.0  # in no checkpoint

    def move(self, place: int, by: float = 1.01) -> None:
        self.moved[place] *= by

    def on_train_epoch_start(self) -> None:
        self.move(0, 1 + 0.1 * torch.rand(()).item())
        self.of_the_epoch = 1.0 + self.current_epoch

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.move(1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.move(2)
        loss = (self.net(batch[0]) * self.moved.prod() - batch[1] * self.of_the_epoch).square().mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.move(3)

    def on_validation_start(self) -> None:
        self.move(4)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", (self.net(batch[0]) - batch[1]).square().mean() + 0.01 * torch.rand(()))

    def on_validation_end(self) -> None:
        self.move(5)

    def on_train_epoch_end(self) -> None:
        self.move(6)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), **self.every}}


class Counts(L.Callback):
    """Counts every hook, and keeps the counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def _count(self, hook: str) -> None:
        self.counts[hook] = self.counts.get(hook, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        return {"counts": dict(self.counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.counts = dict(state_dict["counts"])


def counting(hook: str) -> Callable[..., None]:
    return lambda self, trainer, *rest, **named: None if trainer.sanity_checking else self._count(hook)


for hook in (
    "train_epoch_start", "train_batch_start", "before_backward", "after_backward", "before_optimizer_step",
    "train_batch_end", "validation_start", "validation_batch_end", "validation_end", "train_epoch_end",
):  # fmt: skip
    setattr(Counts, f"on_{hook}", counting(hook))


class Average(L.Callback):
    """The usual exponential average of the weights, kept in the callback's state."""

    def __init__(self) -> None:
        self.average: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        for name, weight in pl_module.named_parameters():
            before = self.average.get(name, weight.detach())
            self.average[name] = 0.9 * before + 0.1 * weight.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"average": {name: value.clone() for name, value in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = dict(state_dict["average"])


class KeepEach(RollingCheckpoint):
    """Save after every step, and copy the checkpoint to a name that says where it was written."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, 1, every_n_steps=1)

    def _save(self, trainer: L.Trainer, alone: bool = False) -> None:
        super()._save(trainer, alone)
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        (self.path.parent / f"at-{batches}.ckpt").write_bytes(self.path.read_bytes())


class KeepBest(BestCheckpoint):
    """Copy every best checkpoint to a name that says where it was written."""

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        Path(filepath).with_name(f"best-at-{batches}.ckpt").write_bytes(Path(filepath).read_bytes())


def fit(
    folder: Path,
    *callbacks: L.Callback,
    resume: Path | None = None,
    build: Callable[[], Moved] = Moved,
    data: L.LightningDataModule | None = None,
    rolling: type[RollingCheckpoint] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the last checkpoint of a run, and its record."""
    torch.manual_seed(0 if resume is None else 99)
    module = build()
    saving: list[L.Callback] = [KeepBest(str(folder), "val/loss", "min"), (rolling or KeepEach)(str(folder))]
    settings = {"max_epochs": EPOCHS, "num_sanity_val_steps": 1, "log_every_n_steps": 1, **options}
    folder.mkdir(exist_ok=True)
    trainer = L.Trainer(
        accelerator="cpu", logger=RecordLogger(folder / "record.jsonl"), enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder,
        callbacks=[Counts(), *callbacks, ExactResume(seed=0), *saving], **settings,
    )  # fmt: skip
    trainer.fit(module, datamodule=data or Data(seed=1), ckpt_path=resume, weights_only=True)
    return torch.load(folder / "last.ckpt", weights_only=True)


def record(folder: Path) -> list[tuple[int, int, dict[str, float]]]:
    lines = map(json.loads, (folder / "record.jsonl").read_text().splitlines())
    return [(line["epoch"], line["step"], line["metrics"]) for line in lines if "metrics" in line]


def unequal(one: Any, other: Any, place: str = "") -> list[str]:
    """Say where two checkpoints differ; file names may."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [place]
    if isinstance(one, dict) and isinstance(other, dict):
        names = {name for name in one.keys() | other.keys() if not str(name).endswith(("path", "dirpath", "k_models"))}
        return [part for name in names for part in unequal(one.get(name), other.get(name), f"{place}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [part for i, pair in enumerate(zip(one, other, strict=True)) for part in unequal(*pair, f"{place}.{i}")]
    return [] if one == other else [f"{place}: {one} is not {other}"]


def assert_every_resume_is_exact(tmp_path: Path, places: list[int], run: Callable[..., dict[str, Any]]) -> None:
    """Resume from checkpoints after these numbers of batches, and from every best one."""
    whole = run(tmp_path / "whole")
    expected = record(tmp_path / "whole")
    written = {file: at(file) for file in sorted((tmp_path / "whole").glob("*at-*.ckpt"))}
    end = max(written.values())
    chosen = [
        file
        for file, batches in written.items()
        if batches < end and (file.stem.startswith("best") or batches in places)
    ]
    assert {at(file) for file in chosen} >= set(places)
    for file in chosen:
        resumed = run(tmp_path / file.stem, resume=file)
        assert unequal(resumed, whole) == [], file.name
        found = record(tmp_path / file.stem)
        assert found == expected[len(expected) - len(found) :], file.name
        steps = torch.load(file, weights_only=True)["global_step"]
        assert count_steps(found) == count_steps(expected) - steps, file.name


def at(file: Path) -> int:
    """Return how many batches had been trained on when a checkpoint was written."""
    return int(file.stem.split("-")[-1])


def count_steps(rows: list[tuple[int, int, dict[str, float]]]) -> int:
    return sum("train/loss_step" in metrics for _, _, metrics in rows)


class Seldom(RollingCheckpoint):
    """Save after every third step."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, 1, every_n_steps=3)
