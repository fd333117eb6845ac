# SPDX-License-Identifier: Apache-2.0
"""Interrupt runs in one process at every kind of place; they must end as the uninterrupted one does."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from helpers.plain_runs import trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import ExactResume, RollingCheckpoint
from lightning_monocon.data import DigitsData
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.runs.checkpoints import DurableCheckpointIO

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:`accumulate_grad_batches` = 2 adds no negatives"),
]


class Noisy(nn.Sequential):
    """Batch norm, which a failed step moves, and dropout, which draws."""

    out_features = 8

    def __init__(self) -> None:
        super().__init__(SmallCNN(1, (4, 8)), nn.Dropout(0.2))


class Fragile(MonoCon):
    """Fails in the middle of the steps and validations that it is told to."""

    fail_in_step: int | None = None
    fail_in_validation_of: int | None = None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)  # batch norm has moved
        if self.fail_in_step == self.trainer.fit_loop.total_batch_idx:
            raise FloatingPointError("in a step")
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        if self.fail_in_validation_of == self.trainer.current_epoch and dataloader_idx == 1:
            raise FloatingPointError("in a validation")
        return super().validation_step(batch, batch_idx, dataloader_idx)


class Notes(L.Callback):
    """What was validated and what the epochs' losses were."""

    def __init__(self) -> None:
        self.validated: list[int] = []
        self.losses: dict[int, float] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.validated.append(trainer.global_step)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if "train/loss" in trainer.callback_metrics:
            self.losses[trainer.current_epoch] = trainer.callback_metrics["train/loss"].item()


def fit(
    folder: Path, *callbacks: L.Callback, resume: str | None = None, step: int | None = None,
    validation: int | None = None, **options: Any,
) -> tuple[dict[str, Any], Notes]:  # fmt: skip
    torch.manual_seed(0 if resume is None else 99)
    module, notes = Fragile(Noisy(), warmup_epochs=1, lr_encoder=3e-3, lr_head=3e-3, lr_warmup=1e-3), Notes()
    module.fail_in_step, module.fail_in_validation_of = step, validation
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[DurableCheckpointIO()],
        callbacks=[ExactResume(seed=0), notes, RollingCheckpoint(str(folder), every_n_steps=1000), *callbacks],
        **{"max_epochs": 4, "num_sanity_val_steps": 0, "check_val_every_n_epoch": 2, **options},
    )
    path = None if resume is None else folder / resume
    data = DigitsData(batch_size=256, seed=0)
    if step is None and validation is None:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    else:
        with pytest.raises(FloatingPointError):
            trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    return torch.load(folder / "last.ckpt", weights_only=True), notes


def assert_same(end: dict[str, Any], truth: dict[str, Any]) -> None:
    assert end["global_step"] == truth["global_step"]
    for name, value in truth["state_dict"].items():
        assert torch.equal(end["state_dict"][name], value), name
    (moments,), (expected,) = end["optimizer_states"], truth["optimizer_states"]
    for index, state in expected["state"].items():
        assert all(torch.equal(moments["state"][index][name], value) for name, value in state.items())
    assert end["lr_schedulers"] == truth["lr_schedulers"]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, [2, 4, 9, 12]),  # warm-up, its end, joint, the start of an epoch
        ({"accumulate_grad_batches": 2}, [3, 5, 10]),  # in the middle of two that make one step
        ({"max_steps": 14, "max_epochs": 100}, [4, 8, 13]),  # no epoch is ever the last
        ({"val_check_interval": 2, "check_val_every_n_epoch": 1}, [5, 6, 8]),
    ],
    ids=["epochs", "accumulated", "max_steps", "validated within"],
)
def test_steps_that_fail_and_resume_again_and_again(tmp_path: Path, options: dict[str, Any], steps: list[int]) -> None:
    truth, whole = fit(tmp_path / "whole", **options)
    folder, resume = tmp_path / "run", None
    validated: list[int] = []
    losses: dict[int, float] = {}
    for step in [*steps, None]:
        end, notes = fit(folder, resume=resume, step=step, **options)
        resume = "last.ckpt"
        validated += notes.validated
        losses |= notes.losses
    assert_same(end, truth)
    assert validated == whole.validated  # none left out, none twice
    assert losses == whole.losses  # means over the epoch, those before the failure included


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 2, "check_val_every_n_epoch": 1}])
def test_a_validation_that_fails_is_made_up_for(tmp_path: Path, options: dict[str, Any]) -> None:
    truth, whole = fit(tmp_path / "whole", **options)
    _, before = fit(tmp_path / "run", validation=1, **options)
    end, after = fit(tmp_path / "run", resume="last.ckpt", **options)
    assert_same(end, truth)
    assert before.validated + after.validated == whole.validated


@pytest.mark.filterwarnings("ignore:The checkpoint was not written between two steps")
def test_stock_checkpoints_of_every_step_resume_twice(tmp_path: Path) -> None:
    """Lightning's counters go wrong after a checkpoint from the last batch of an epoch, at the second resume."""
    keep = {"every_n_train_steps": 1, "save_top_k": -1}
    truth, _ = fit(tmp_path / "run", ModelCheckpoint(tmp_path / "run", "{step}", **keep))
    fit(tmp_path / "run", ModelCheckpoint(tmp_path / "again", "{step}", **keep), resume="step=8.ckpt")
    for step in (12, 13):
        (tmp_path / "again" / f"step={step}.ckpt").rename(tmp_path / "run" / f"twice={step}.ckpt")
        end, _ = fit(tmp_path / "run", resume=f"twice={step}.ckpt")
        assert_same(end, truth)


def test_a_checkpoint_without_this_callback_is_left_alone(tmp_path: Path) -> None:
    checkpoint = {"loops": {"fit_loop": {}}, "callbacks": {}}
    ExactResume(seed=0).on_load_checkpoint(L.Trainer(accelerator="cpu", logger=False), Fragile(Noisy()), checkpoint)
    assert checkpoint == {"loops": {"fit_loop": {}}, "callbacks": {}}


class Dropping(MonoCon):
    """MonoCon with dropout, whose mask shows what the random state was."""

    def training_step(self, batch: tuple[Any, Tensor], batch_idx: int) -> Tensor:
        self.masks = [*getattr(self, "masks", []), nn.functional.dropout(torch.ones(50), 0.5)]
        return super().training_step(batch, batch_idx)


def test_exact_resume_keys_the_randomness_of_a_step() -> None:
    class Meddler(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            torch.rand(7)

    masks = []
    for callbacks in ([ExactResume(seed=3)], [ExactResume(seed=3), Meddler()]):
        torch.manual_seed(0)
        module = Dropping(SmallCNN(1, (4, 8)), warmup_epochs=0)
        trainer(*callbacks, limit_val_batches=0).fit(module, datamodule=DigitsData(seed=3))
        masks.append(torch.stack(module.masks))
    assert torch.equal(*masks)
    assert len(masks[0].unique(dim=0)) == len(masks[0])
