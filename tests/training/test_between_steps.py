# SPDX-License-Identifier: Apache-2.0
"""Resume from checkpoints of every kind of place, with state that every kind of hook moves; nothing may differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, GradientAccumulationScheduler
from oracles.moved_state import (
    BATCHES,
    ROWS,
    Average,
    Data,
    Items,
    Moved,
    Shuffled,
    assert_every_resume_is_exact,
    count_steps,
    fit,
    record,
    rows,
    unequal,
)
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from lightning_monocon import MonoCon

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, [2, 7, 9, 14]),
        ({"check_val_every_n_epoch": 2}, [5, 7, 15]),
        ({"val_check_interval": 0.43}, [3, 6, 7, 10, 13]),  # validations after 3 and 6 batches
        ({"val_check_interval": 7}, [7, 8]),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 6, 10, 14, 15, 20]),
        ({"val_check_interval": 10, "check_val_every_n_epoch": None}, [8, 10, 14]),
        ({"accumulate_grad_batches": 4, "val_check_interval": 5}, [4, 7, 11]),  # validations within an accumulation
        ({"max_steps": 16, "max_epochs": 9}, [3, 7, 12]),
        ({"reload_dataloaders_every_n_epochs": 1}, [2, 7, 10]),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_any_hook_may_move_state(options: dict[str, Any], places: list[int], tmp_path: Path) -> None:
    assert_every_resume_is_exact(tmp_path, places, lambda folder, **where: fit(folder, Average(), **options, **where))


def one_cycle(module: Moved) -> Callable[..., Any]:
    return lambda optimizer: OneCycleLR(optimizer, 0.02, total_steps=int(module.trainer.estimated_stepping_batches))


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric")
@pytest.mark.parametrize(
    ("scheduler", "every", "options"),
    [
        (one_cycle, {"interval": "step"}, {}),
        (one_cycle, {"interval": "step"}, {"reload_dataloaders_every_n_epochs": 1}),
        (lambda module: lambda optimizer: StepLR(optimizer, 2, 0.5), {"interval": "epoch"}, {}),
        (
            lambda module: lambda optimizer: ReduceLROnPlateau(optimizer, "min", 0.5, patience=0, threshold=1.0),
            {"interval": "epoch", "monitor": "val/loss"},
            {"max_epochs": 5, "check_val_every_n_epoch": 2, "num_sanity_val_steps": 0},
        ),
        (
            lambda module: lambda optimizer: ReduceLROnPlateau(optimizer, "min", 0.9, patience=0, threshold=1.0),
            {"interval": "step", "monitor": "train/loss"},
            {"val_check_interval": 3},
        ),
    ],
    ids=["estimated steps", "estimated steps, loaders made again", "epochs", "plateau by epoch", "plateau by step"],
)
def test_schedulers(
    scheduler: Callable[..., Any], every: dict[str, Any], options: dict[str, Any], tmp_path: Path
) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        def build() -> Moved:
            module = Moved()
            module.scheduler, module.every = scheduler(module), {"strict": False, **every}
            return module

        return fit(folder, build=build, **options, **where)

    assert_every_resume_is_exact(tmp_path, [3, 7, 10], run)


@pytest.mark.parametrize("places", [[4, 7, 10]], ids=[""])
@pytest.mark.parametrize(
    "callback",
    [
        lambda: EMAWeightAveraging(decay=0.9),
        lambda: EarlyStopping("val/loss", patience=1, mode="max"),
        lambda: GradientAccumulationScheduler({0: 2, 1: 3}),
    ],
    ids=["EMAWeightAveraging", "EarlyStopping", "GradientAccumulationScheduler"],
)
def test_callbacks_of_lightning(callback: Callable[[], L.Callback], places: list[int], tmp_path: Path) -> None:
    assert_every_resume_is_exact(tmp_path, places, lambda folder, **where: fit(folder, callback(), **where))


def test_a_plain_loader_that_shuffles_is_exact_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        return fit(folder, data=Shuffled(), **where)

    assert_every_resume_is_exact(tmp_path, [7, 14], run)


class Leaves(Moved):
    """Leaves the second epoch after two batches."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        super().on_train_batch_start(batch, batch_idx)
        return -1 if self.current_epoch == 1 and batch_idx == 2 else None


class Manual(Moved):
    """Steps by hand, twice a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for _ in range(2):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()


def test_an_epoch_that_is_left_early(tmp_path: Path) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        end = fit(folder, build=Leaves, **where)
        end.pop("loops")  # a batch that was left counts as begun, and afterwards as done
        return end

    assert_every_resume_is_exact(tmp_path, [5, 12], run)


def test_steps_by_hand(tmp_path: Path) -> None:
    run = lambda folder, **where: fit(folder, build=Manual, val_check_interval=3, **where)  # noqa: E731
    whole = run(tmp_path / "whole")
    for batches in (3, 5, 7, 10):
        assert unequal(run(tmp_path / f"{batches}", resume=tmp_path / "whole" / f"at-{batches}.ckpt"), whole) == []
        found, expected = record(tmp_path / f"{batches}"), record(tmp_path / "whole")
        assert found == expected[len(expected) - len(found) :]
        assert count_steps(found) == count_steps(expected) - batches


class Norm(nn.Sequential):
    out_features = 5

    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 5), nn.BatchNorm1d(5))


class Labelled(Data):
    """Labels for a `MonoCon`."""

    def setup(self, stage: str) -> None:
        self.items = Items(rows(BATCHES * ROWS).tensors[0], torch.arange(BATCHES * ROWS) % 2)

    def train_dataloader(self) -> DataLoader[Any]:
        loader = super().train_dataloader()
        return DataLoader(self.items, ROWS, sampler=loader.sampler)


@pytest.mark.filterwarnings("ignore:.* of the batch have no positive")
def test_a_frozen_encoder_is_frozen_again_within_its_warm_up(tmp_path: Path) -> None:
    """Its eval mode is set at the start of an epoch, and in no checkpoint."""

    def run(folder: Path, **where: Any) -> dict[str, Any]:
        def build() -> Any:
            return MonoCon(Norm(), warmup_epochs=2, bn_while_frozen="freeze")

        return fit(folder, build=build, data=Labelled(seed=1), limit_val_batches=0, **where)

    truth = run(tmp_path / "whole")
    assert unequal(run(tmp_path / "run", resume=tmp_path / "whole" / "at-3.ckpt"), truth) == []
