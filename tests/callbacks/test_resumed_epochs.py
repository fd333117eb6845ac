# SPDX-License-Identifier: Apache-2.0
"""Resume within an epoch with state that its first hook moves and that is kept in every kind of place."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning
from oracles.moved_state import BATCHES, ROWS, Data, Moved, assert_every_resume_is_exact, fit, record, rows, unequal
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MaxMetric

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class InTheCheckpoint(Moved):
    """Counts epochs, and builds a part when it loads, as modules do whose size a checkpoint tells."""

    epochs = 0

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.epochs += 1

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * 0.8**self.epochs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["own"] = {"epochs": self.epochs}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.epochs = checkpoint["own"]["epochs"]
        self.net[3] = nn.Linear(5, 1)


class Counter(nn.Module):
    epochs = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"epochs": self.epochs}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.epochs = state["epochs"]


class InExtraState(Moved):
    def __init__(self) -> None:
        super().__init__()
        self.counter = Counter()

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.counter.epochs += 1

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * 0.8**self.counter.epochs


class InACallback(L.Callback):
    """Keeps a list, which a shallow copy of the checkpoint would share."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs.append(trainer.current_epoch)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
        for parameter in pl_module.parameters():
            if parameter.grad is not None:
                parameter.grad *= len(self.epochs)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["own"] = list(self.epochs)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.epochs = checkpoint["own"]


class CountingData(Data):
    epochs = 0

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]


class InTheData(Moved):
    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.trainer.datamodule.epochs += 1  # type: ignore[attr-defined]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * 0.8**self.trainer.datamodule.epochs  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [InTheCheckpoint, InExtraState, InTheData, InACallback])
def test_state_that_the_start_of_an_epoch_moves_is_moved_once(kind: type[Any], tmp_path: Path) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        if issubclass(kind, L.Callback):
            return fit(folder, kind(), **where)
        return fit(folder, build=kind, data=CountingData(seed=1), **where)

    assert_every_resume_is_exact(tmp_path, [3, 9], run)


class LoadsOnce(InTheCheckpoint):
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert not self.epochs, "loaded already"
        self.epochs = checkpoint["own"]["epochs"]


def test_state_that_cannot_be_loaded_twice_is_said_to_be_moved(tmp_path: Path) -> None:
    fit(tmp_path / "whole", build=LoadsOnce)
    with pytest.warns(UserWarning, match=r"`LoadsOnce.on_load_checkpoint` must be able to run twice .* loaded already"):
        fit(tmp_path / "run", build=LoadsOnce, resume=tmp_path / "whole" / "at-3.ckpt")


class Unfreezes(Moved):
    """Opens one part and closes another at one epoch only."""

    def on_fit_start(self) -> None:
        self.net[0].requires_grad_(False)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.current_epoch == 1:
            self.net[0].requires_grad_(True)
            self.net[2].eval()


class Finetuned(Moved):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = self.net[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([one for one in self.parameters() if one.requires_grad], 1e-2, momentum=0.9)


@pytest.mark.filterwarnings("ignore:The provided params to be frozen already exist")  # the hook runs twice at epoch 1
@pytest.mark.parametrize("kind", [Unfreezes, Finetuned])
def test_parts_that_were_opened_in_an_earlier_epoch_stay_open(kind: type[Moved], tmp_path: Path) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        callbacks = [BackboneFinetuning(1, lambda epoch: 1.5)] if kind is Finetuned else []
        return fit(folder, *callbacks, build=kind, val_check_interval=3, **where)

    assert_every_resume_is_exact(tmp_path, [3, 7, 9, 14, 16], run)


def test_a_checkpoint_that_does_not_say_what_was_open_is_resumed(tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    checkpoint = torch.load(tmp_path / "whole" / "at-9.ckpt", weights_only=True)
    del checkpoint["callbacks"]["ExactResume"]["switches"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    truth = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=True)
    assert unequal(fit(tmp_path / "run", resume=tmp_path / "old.ckpt"), truth) == []


class Logs(Moved):
    """Logs by every reduction, and an object; what is largest and smallest comes early in an epoch."""

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.largest = MaxMetric()
        self.largest.persistent(persistent)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        value = torch.tensor(5.0 - batch_idx)
        for kind in ("max", "min", "sum", "mean"):
            self.log(kind, -value if kind == "min" else value, on_step=False, on_epoch=True, reduce_fx=kind)
        self.largest(value)
        self.log("largest", self.largest, on_step=False, on_epoch=True)
        return loss


def test_metrics_of_every_reduction_cover_the_whole_of_an_interrupted_epoch(tmp_path: Path) -> None:
    def run(folder: Path, **where: Any) -> dict[str, Any]:
        return fit(folder, build=Logs, val_check_interval=3, **where)

    assert_every_resume_is_exact(tmp_path, [3, 9, 13], run)
    epochs = [metrics for _, _, metrics in record(tmp_path / "at-9") if "sum" in metrics]
    expected = {"max": 5.0, "min": -5.0, "sum": 14.0, "mean": 2.0, "largest": 5.0}
    assert [{name: metrics[name] for name in expected} for metrics in epochs] == [expected, expected]


def test_a_metric_object_that_no_checkpoint_holds_is_named(tmp_path: Path) -> None:
    fit(tmp_path / "whole", build=lambda: Logs(persistent=False))
    with pytest.warns(UserWarning, match=r"and largest will not; call `.persistent\(True\)`"):
        fit(tmp_path / "run", build=lambda: Logs(persistent=False), resume=tmp_path / "whole" / "at-9.ckpt")


class Overfitted(Data):
    """Takes plain indices, as Lightning's sampler gives them."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(rows(BATCHES * ROWS), ROWS, sampler=super().train_dataloader().sampler)


@pytest.mark.filterwarnings("ignore:You requested to overfit", "ignore:.*sampler.* overfit")
def test_a_resume_within_an_epoch_of_overfitted_batches_is_refused(tmp_path: Path) -> None:
    run = lambda name, **where: fit(  # noqa: E731
        tmp_path / name, data=Overfitted(seed=1), overfit_batches=4, **where
    )
    truth = run("whole")
    assert unequal(run("end", resume=tmp_path / "whole" / "at-8.ckpt"), truth) == []
    with pytest.raises(ValueError, match=r"`overfit_batches` must be 0 for an exact resume .* batch 2 of an epoch"):
        run("within", resume=tmp_path / "whole" / "at-6.ckpt")
