# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    TQDMProgressBar,
)
from torch import nn
from torchmetrics import MeanMetric

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import NaNGuard, RollingCheckpoint
from lightning_monocon.data.images.augmentation import ImageAugmentation
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.runs.settings import Settings, differences, run_settings

BAR = {"enable_progress_bar": True}


class Encoder(nn.Module):
    """Drops by a layer, by a function, and by a rate that has another name than its argument."""

    out_features = 8

    def __init__(self, p: float = 0.1, q: float = 0.1, folder: str = "/here", activation: Any = F.relu) -> None:
        super().__init__()
        self.layers = nn.Sequential(SmallCNN(1, (4, 8)), nn.Dropout(p), Functional(q, activation))
        self.folder = folder


class Functional(nn.Module):
    def __init__(self, q: float, activation: Any) -> None:
        super().__init__()
        self.rate, self.activation = q, activation


class Data(L.LightningDataModule):
    """Keeps a transform of its own and what it makes batches of."""

    def __init__(self, transform: object = None, **others: object) -> None:
        super().__init__()
        self.transform, self.rows = transform, torch.zeros(100)
        vars(self).update(others)


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor


class Average(L.Callback):
    def __init__(self, decay: float, folder: str = "/here") -> None:
        self._decay, self.folder, self.steps = decay, folder, 0


class Own(L.LightningModule):
    """A module without description or hyper-parameters."""

    def __init__(self, alpha: float = 0.5, loss: nn.Module | None = None) -> None:
        super().__init__()
        self.alpha, self.loss, self.seen = alpha, loss or nn.CrossEntropyLoss(), 0


@dataclass
class Config:
    rate: float


class Keeper(nn.Module):
    """Keeps what it is given as an attribute, and a tensor as a buffer that no checkpoint holds."""

    def __init__(self, given: Any = None, buffer: torch.Tensor | None = None) -> None:
        super().__init__()
        self.kept, self.lock = given, Lock()
        self.register_buffer("mean", buffer, persistent=False)


class Trained(L.LightningModule):
    """Keeps state of many kinds that training moves or makes."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Tanh())
        self.metric, self.keeper = MeanMetric(), Keeper({"rates": {0.1, 0.2}}, torch.ones(3))
        self.steps, self.history = 0, {}  # type: ignore[var-annotated]  # of anything

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.steps += 1
        self.keeper.seen = self.part(batch)  # type: ignore[assignment]  # as a hook that keeps activations does
        self.history[batch_idx] = float(self.keeper.seen.detach().sum())
        self.metric.update(self.keeper.seen.detach())
        return self.keeper.seen.sum()

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.arange(8.0).reshape(4, 2), batch_size=2)  # type: ignore[arg-type]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def kept(value: Any) -> Settings:
    return settings(Own(loss=Keeper(value)))


def settings(
    module: L.LightningModule | None = None, data: L.LightningDataModule | None = None, **options: Any
) -> Settings:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_model_summary=False, max_epochs=1,
        **{"enable_progress_bar": False, **options},
    )  # fmt: skip
    trainer.datamodule = data  # type: ignore[attr-defined]  # as `fit` sets it
    return run_settings(trainer, module or MonoCon(Encoder()), seed=0)


def drift(one: Settings, other: Settings) -> str:
    assert not differences(one, one)
    (found,) = differences(one, other)
    return found


def smoothed(smoothing: float, *weights: float) -> MonoCon:
    weight = torch.tensor(weights) if weights else None
    return MonoCon(
        Encoder(), head="linear", out_features=2, loss=nn.CrossEntropyLoss(weight, label_smoothing=smoothing)
    )


@pytest.mark.parametrize(
    ("make", "values", "place"),
    [
        (lambda p: settings(MonoCon(Encoder(p))), (0.1, 0.9), r"model\.encoder\.layers\.1: 'Dropout\(p=0\.1\)' in"),
        (lambda q: settings(MonoCon(Encoder(q=q))), (0.1, 0.9), r"model\.encoder\.layers\.2: .*rate=0\.1"),
        (lambda f: settings(MonoCon(Encoder(activation=f))), (F.relu, F.gelu), r"layers\.2: .*activation=relu"),
        (lambda s: settings(smoothed(s)), (0.0, 0.5), r"model\.loss: 'CrossEntropyLoss\(.*label_smoothing=0\.0"),
        (lambda w: settings(smoothed(0.0, 1.0, w)), (1.0, 2.0), r"model\.loss: .*weight=tensor"),
        (lambda t: settings(MonoCon(Encoder(), temperature=t)), (0.1, 0.2), r"model\.loss\.temperature: 0\.1 in"),
        (lambda a: settings(Own(a)), (0.5, 0.6), r"model: 'Own\(alpha=0\.5\)' in the checkpoint, 'Own\(alpha=0\.6\)"),
        (lambda b: settings(Own(loss=nn.HuberLoss(delta=b))), (1.0, 2.0), r"model\.loss: 'HuberLoss\(delta=1\.0"),
        (lambda c: settings(gradient_clip_val=1.0, gradient_clip_algorithm=c), ("norm", "value"), "clip_algorithm: 'n"),
        (lambda c: settings(gradient_clip_algorithm=c), (None, "value"), "gradient_clip_algorithm: 'norm' in the"),
        (lambda p: settings(precision=p), ("32-true", "bf16-mixed"), "precision: '32-true' in the checkpoint, 'bf16-m"),
        (
            lambda o: settings(**{o: 3, "limit_val_batches": 3}),
            ("limit_train_batches", "overfit_batches"),
            r"trainer\.overfit_batches: 0\.0 in",
        ),
        (lambda d: settings(callbacks=[Average(d)]), (0.9, 0.99), r"callbacks\.Average: 'Average\(decay=0\.9\)' in"),
        (lambda n: settings(callbacks=[EarlyStopping("a", patience=n)]), (3, 4), r"callbacks\.EarlyStopping: .*=3"),
        (lambda a: settings(Own(loss=nn.Sequential(a()))), (nn.ReLU, nn.Tanh), r"model\.loss\.0: 'ReLU\(\)' in"),
        (lambda r: kept({"a": {"rate": r}}), (0.1, 0.2), r"model\.loss\.kept: .*'rate': 0\.1"),
        (lambda r: kept(Config(r)), (0.1, 0.2), r"model\.loss\.kept: 'Config\(rate=0\.1\)' in"),
        (lambda r: kept(SimpleNamespace(rate=r)), (0.1, 0.2), r"kept: 'SimpleNamespace\(rate=0\.1\)' in"),
        (lambda r: kept([Scale(1.0), Scale(r)]), (0.1, 0.2), r"kept: .*Scale\(factor=0\.1\)"),
        (lambda r: kept([0.0] * 99 + [r]), (0.1, 0.2), r"kept: 'list [0-9a-f]{12}' in"),
        (lambda r: kept(torch.tensor([r])), (0.1, 0.2), r"kept: 'tensor \(1,\) torch\.float32 [0-9a-f]{12}' in"),
        (lambda r: kept(np.full(2, r)), (0.1, 0.2), r"kept: 'array \(2,\) float64 [0-9a-f]{12}' in"),
        (lambda r: kept(torch.full((2_000_000,), r)), (0.1, 0.2), r"kept: 'tensor \(2000000,\)"),
        (lambda r: settings(Own(loss=Keeper(buffer=torch.tensor(r)))), (0.1, 0.2), r"model\.loss\.mean: 'tensor \(\)"),
        (lambda n: settings(callbacks=[GradientAccumulationScheduler({2: n})]), (2, 4), r"scheduling: .*2: 2"),
        (lambda d: settings(callbacks=[EMAWeightAveraging(decay=d)]), (0.9, 0.5), r"kwargs: .*decay=0\.9"),
        (lambda n: settings(limit_val_batches=n), (1.0, 3), r"trainer\.limit_val_batches: 1\.0 in"),
        (lambda n: settings(check_val_every_n_epoch=n), (1, 2), r"trainer\.check_val_every_n_epoch: 1 in"),
        (lambda n: settings(val_check_interval=n), (1.0, 0.5), r"trainer\.val_check_interval: 1\.0 in"),
        (lambda n: settings(min_epochs=n), (1, 2), r"trainer\.min_epochs: 1 in"),
        (
            lambda n: settings(reload_dataloaders_every_n_epochs=n),
            (0, 1),
            r"trainer\.reload_dataloaders_every_n_epochs",
        ),
        (lambda n: settings(use_distributed_sampler=n), (True, False), r"trainer\.use_distributed_sampler: True in"),
        (lambda f: settings(data=Data(Scale(f))), (1.0, 2.0), r"data\.transform: 'Scale\(factor=1\.0\)' in"),
        (lambda f: settings(data=Data(partial(F.pad, value=f))), (1.0, 2.0), r"data\.transform: .*'value': 1\.0"),
        (lambda f: settings(data=Data({"train": [Scale(f)]})), (1.0, 2.0), r"data\.transform: .*factor=1\.0"),
        (lambda m: settings(data=Data(ImageAugmentation([m], [1.0]))), (0.1, 0.2), r"data\.transform: .*mean=\[0\.1"),
    ],
)
def test_each_setting_that_changes_training_is_named(
    make: Callable[[Any], Settings], values: tuple[Any, Any], place: str
) -> None:
    stored, present = map(make, values)
    found = drift(stored, present)
    assert re.search(place.replace("'", "['\"]"), found), found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: settings(MonoCon(Encoder(folder="/here"))), lambda: settings(MonoCon(Encoder(folder="/there")))),
        (lambda: settings(MonoCon(SmallCNN(1, (4, 8)))), lambda: settings(compiled())),
        (lambda: settings(callbacks=[Average(0.9, "/a")]), lambda: settings(callbacks=[Average(0.9, "/b")])),
        (lambda: settings(callbacks=[Average(0.9)]), lambda: settings(callbacks=[])),
        (lambda: settings(callbacks=[NaNGuard("raise")]), lambda: settings(callbacks=[NaNGuard("skip")])),
        (lambda: settings(callbacks=savers(2), **BAR), lambda: settings(callbacks=savers(3), **BAR)),
        (lambda: settings(data=Data(num_workers=0)), lambda: settings(data=Data(num_workers=4))),
        (lambda: settings(data=Data(root=Path("/a"))), lambda: settings(data=Data(root=Path("/b")))),
        (lambda: settings(data=Data(table=torch.zeros(3))), lambda: settings(data=Data(table=torch.zeros(4)))),
    ],
    ids=["folder", "compiled", "path", "callback gone", "watcher", "savers", "workers", "root", "rows"],
)
def test_what_changes_no_step_may_differ(one: Callable[[], Settings], other: Callable[[], Settings]) -> None:
    assert not differences(one(), other())


def compiled() -> MonoCon:
    model = MonoCon(SmallCNN(1, (4, 8)))
    model.encoder = torch.compile(model.encoder)  # type: ignore[assignment]  # a module that wraps it
    return model


def test_equal_models_have_equal_settings_before_and_after_a_step() -> None:
    model = Trained()
    before = settings(model)
    assert before == settings(Trained())
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        max_steps=1,
        enable_model_summary=False,
    )
    trainer.fit(model)
    assert model.steps == 1
    assert before == settings(model)


def test_a_configuration_that_many_parts_keep_is_said_once() -> None:
    config = Config(0.1)
    found = settings(Own(loss=nn.Sequential(Keeper(config), Keeper(config), Keeper(Config(0.2)))))
    assert [name for name in found if name.endswith("kept")] == ["model.loss.0.kept", "model.loss.2.kept"]


def test_a_part_that_refers_to_its_owner_is_described() -> None:
    owner = Own(loss=Keeper())
    owner.loss.kept = [owner, owner.loss]
    assert settings(owner)["model.loss.kept"] == "[Own, Keeper]"


def savers(n: int) -> list[L.Callback]:
    return [
        RollingCheckpoint("a", keep=n),
        ModelCheckpoint("a", monitor="b", save_top_k=n),
        TQDMProgressBar(refresh_rate=n),
    ]


def test_settings_of_an_earlier_version_are_compared_by_what_they_know() -> None:
    present = settings()
    assert not differences({"seed": 0, "world_size": 1}, present)
    older = {"settings": 2, "model.encoder.layers.1": "Dropout(p=0.1)"}
    assert not differences(older, present)
    assert differences({**older, "model.encoder.layers.1": "Dropout(p=0.2)"}, present)
    assert differences({"seed": 1, "gone": 3}, present) == ["seed: 1 in the checkpoint, 0 now"]


def test_an_option_that_came_since_the_checkpoint_is_no_difference() -> None:
    present = settings()
    older = {name: value for name, value in present.items() if name != "model.schedule.optimizer"}
    assert differences(older, present) == ["model.schedule.optimizer: absent in the checkpoint, 'adamw' now"]
    assert not differences({**older, "package": "0.0.9"}, present)
    assert not differences({name: value for name, value in older.items() if name != "package"}, present)
    assert differences({**older, "package": "0.0.9", "seed": 1}, present) == ["seed: 1 in the checkpoint, 0 now"]


def test_of_many_differences_the_first_are_named() -> None:
    stored = dict.fromkeys(map(str, range(20)), 0)
    found = differences(stored, {})
    assert len(found) == 9 and found[-1] == "and 12 more"
