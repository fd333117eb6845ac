# SPDX-License-Identifier: Apache-2.0
"""Run one of two gloo ranks through several small fits; run by tests/training/test_several_ranks.py."""

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_monocon import MonoCon, SupConLoss
from lightning_monocon.callbacks import EmbeddingMetrics, ExactResume, SemanticLandscape
from lightning_monocon.data import ClassBalancedBatchSampler, ShardSampler

STEPS, SHARES = 3, (11, 5)
CLASSES, PER_CLASS, BATCH = 6, 3, 9


def batches(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Inputs ``(STEPS, 16, 6)`` and labels; the ranks hold 11 and 5 rows of each step."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(STEPS, sum(SHARES), 6, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), torch.randint(4, (STEPS, sum(SHARES)), generator=generator)


def model(**options: Any) -> MonoCon:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 8))
    return MonoCon(encoder, in_features=8, warmup_epochs=0, lr_encoder=1e-2, lr_head=1e-2, **options)


def trainer(**options: Any) -> L.Trainer:
    settings = {"max_epochs": 1, "devices": 2, "strategy": "ddp", "enable_checkpointing": False, **options}
    return L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, **settings)


class UnevenShards(L.LightningDataModule):
    """Each rank its own number of rows, the same number of steps."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        inputs, labels = batches(self.dtype)
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        first = sum(SHARES[:rank])
        own = slice(first, first + SHARES[rank]) if ranks > 1 else slice(None)
        rows = TensorDataset(inputs[:, own].flatten(0, 1), labels[:, own].flatten())
        return DataLoader(rows, batch_size=len(rows) // STEPS)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return judged(self.dtype)


def judged(dtype: torch.dtype) -> list[DataLoader[Any]]:
    """Gallery of 65 and query of 15 rows: more on the first rank than on the second."""
    loaders = []
    for rows, seed in ((65, 4), (15, 5)):
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(rows, 6, generator=generator, dtype=torch.float64).to(dtype)
        rows_and_labels = TensorDataset(inputs, torch.arange(rows) % 3)
        loaders.append(DataLoader(rows_and_labels, batch_size=8, sampler=ShardSampler(rows)))
    return loaders


class Reductions(L.Callback):
    """Count the buckets that are averaged over the ranks."""

    def __init__(self) -> None:
        self.count = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(trainer.model, nn.parallel.DistributedDataParallel)
        trainer.model.register_comm_hook(None, self._count)  # Lightning's own argument serves GPUs only

    def _count(self, state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        self.count += 1
        return allreduce_hook(None, bucket)


def landscape() -> SemanticLandscape:
    return SemanticLandscape(probe=12, schedule=1, budget=None, on_error="raise")


def evaluations(watch: SemanticLandscape) -> int:
    return 0 if watch.tracker is None else len(watch.tracker.trajectory)


class OwnClock(SemanticLandscape):
    """Have all the time of the world on the first rank, and none on the second."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.costs.spent, self.costs.last = (1e-9, 1e-9) if trainer.is_global_zero else (1e9, 1e9)


class FullDisk(L.Callback):
    """Fail the landscape of the first rank alone, after its second step."""

    def __init__(self, watch: SemanticLandscape) -> None:
        self.watch = watch

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        if trainer.is_global_zero and trainer.global_step == 2:
            self.watch.error = OSError("No space left on device")
            self.watch.on_stop()


def fit_in_chunks(chunk_size: int | None, folder: Path) -> dict[str, Any]:
    reductions, module = Reductions(), model(chunk_size=chunk_size)
    watch = landscape()
    callbacks = [reductions, watch] if chunk_size else [reductions]
    options = {"callbacks": callbacks, "default_root_dir": folder, "precision": "64-true", "gradient_clip_val": 0.05}
    trainer(use_distributed_sampler=False, **options).fit(module, datamodule=UnevenShards(torch.float64))
    return {"weights": module.state_dict(), "reductions": reductions.count, "evaluations": evaluations(watch)}


class Keys(Dataset[Any]):
    """Return the keys it is asked for, as inputs that say who they are."""

    def __len__(self) -> int:
        return CLASSES * 12

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = key
        return torch.tensor([epoch, index, 1.0, 0.0, 0.0, index % CLASSES]), torch.tensor(index % CLASSES)


class BalancedData(L.LightningDataModule):
    """Class-balanced batches, handed to the trainer in one of the two ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.position: tuple[int, int] | None = None

    def resume_at(self, epoch: int, batch: int) -> None:
        self.position = (epoch, batch)

    def train_dataloader(self) -> DataLoader[Any]:
        drawn = ClassBalancedBatchSampler([i % CLASSES for i in range(len(Keys()))], BATCH, PER_CLASS, seed=2)
        if self.position is not None:
            drawn.resume(*self.position)
            self.position = None
        if self.way == "batch_sampler":
            return DataLoader(Keys(), batch_sampler=drawn)
        return DataLoader(Keys(), sampler=drawn.sampler, batch_size=drawn.batch_size, drop_last=True)


class Seen(L.Callback):
    """Note the keys of each step, and what the first trainer did to the loader."""

    def __init__(self) -> None:
        self.steps: list[list[list[int]]] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append(batch[0][:, :2].int().tolist())


def fit_balanced(way: str, folder: Path, *, ckpt: Path | None = None, **options: Any) -> list[list[list[int]]]:
    seen = Seen()
    callbacks = [seen, ExactResume(seed=0)]
    if ckpt is None:
        callbacks.append(ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1))
    trained = trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=ckpt is None, **options)
    trained.fit(model(), datamodule=BalancedData(way), ckpt_path=ckpt, weights_only=True)
    return seen.steps


def refused(folder: Path) -> str:
    try:
        fit_balanced("batch_sampler", folder)
    except RuntimeError as error:
        return str(error)
    return ""


def refusal(strategy: ModelParallelStrategy, **options: Any) -> str:
    try:
        trained = trainer(strategy=strategy, use_distributed_sampler=False)
        trained.fit(model(**options), datamodule=UnevenShards(torch.float32))
    except ValueError as error:
        return str(error)
    return ""


def watched_apart(watch: SemanticLandscape, folder: Path, *others: L.Callback) -> int:
    """Return the evaluations of a sharded run, whose ranks have to evaluate together."""
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    options = {"callbacks": [watch, *others], "default_root_dir": folder, "use_distributed_sampler": False}
    trainer(strategy=strategy, **options).fit(model(), datamodule=UnevenShards(torch.float32))
    return evaluations(watch)


def fit_sharded(folder: Path) -> dict[str, Any]:
    module = model()
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=False)
    watch = landscape()
    options = {"gradient_clip_val": 0.05, "callbacks": [watch, EmbeddingMetrics()], "default_root_dir": folder}
    trained = trainer(strategy=strategy, use_distributed_sampler=False, **options)
    trained.fit(module, datamodule=UnevenShards(torch.float32))
    trained.save_checkpoint(folder / "sharded.ckpt")
    own_clock = OwnClock(probe=12, schedule=1, on_error="raise")
    stopped = SemanticLandscape(probe=12, schedule=1, budget=None)
    learnt = SupConLoss(nn.Parameter(torch.tensor(0.1)))
    return {
        "evaluations": evaluations(watch),
        "own clocks": watched_apart(own_clock, folder),
        "stopped": (watched_apart(stopped, folder, FullDisk(stopped)), str(stopped.error)),
        "metrics": {name: value.item() for name, value in trained.callback_metrics.items()},
        "local": sum(p.to_local().numel() for p in module.parameters()),
        "whole": sum(p.numel() for p in module.parameters()),
        "tensor parallel": refusal(ModelParallelStrategy()),
        "learnt": refusal(ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1), loss=learnt),
    }


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found: dict[str, Any] = {"whole": fit_in_chunks(None, folder), "chunked": fit_in_chunks(3, folder)}
    found["sampler"] = fit_balanced("sampler", folder / "a")
    found["resumed"] = fit_balanced("sampler", folder / "b", ckpt=folder / "a" / "step=6.ckpt")
    found["batch_sampler"] = fit_balanced("batch_sampler", folder / "c", use_distributed_sampler=False)
    found["sharded"] = fit_sharded(folder)
    found["refused"] = refused(folder / "d")
    torch.save(found, folder / f"rank{dist.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
