# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import nn

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import NaNGuard, RollingCheckpoint
from lightning_monocon.data.augmentation import ImageAugmentation
from lightning_monocon.encoders import SmallCNN
from lightning_monocon.settings import Settings, differences, run_settings

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
            lambda o: settings(**{o: 3}),
            ("limit_train_batches", "overfit_batches"),
            r"trainer\.overfit_batches: 0\.0 in",
        ),
        (lambda d: settings(callbacks=[Average(d)]), (0.9, 0.99), r"callbacks\.Average: 'Average\(decay=0\.9\)' in"),
        (lambda n: settings(callbacks=[EarlyStopping("a", patience=n)]), (3, 4), r"callbacks\.EarlyStopping: .*=3"),
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


def savers(n: int) -> list[L.Callback]:
    return [
        RollingCheckpoint("a", keep=n),
        ModelCheckpoint("a", monitor="b", save_top_k=n),
        TQDMProgressBar(refresh_rate=n),
    ]


def test_settings_of_an_earlier_version_are_compared_by_what_they_know() -> None:
    present = settings()
    assert not differences({"seed": 0, "world_size": 1}, present)
    assert differences({"seed": 1, "gone": 3}, present) == ["seed: 1 in the checkpoint, 0 now"]


def test_of_many_differences_the_first_are_named() -> None:
    stored = dict.fromkeys(map(str, range(20)), 0)
    found = differences(stored, {})
    assert len(found) == 9 and found[-1] == "and 12 more"
