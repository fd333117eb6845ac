# SPDX-License-Identifier: Apache-2.0
"""Resume from checkpoints of every kind of place, with state that every kind of hook moves; nothing may differ."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
)
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_monocon import MonoCon
from lightning_monocon.callbacks import BestCheckpoint, ExactResume, RollingCheckpoint
from lightning_monocon.checkpoints import newest_good
from lightning_monocon.data.sampling import EpochSampler
from lightning_monocon.data.split_data import KeyedData
from lightning_monocon.runs import RecordLogger

EPOCHS, BATCHES, ROWS = 3, 7, 4

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


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


class Fails(Moved):
    """Fails when it is called for the n-th time in one of its methods, once that has done its work."""

    def __init__(self, method: str = "", count: int = 0) -> None:
        super().__init__()
        self.left = count
        if method:
            setattr(self, method, self.failing(getattr(self, method)))

    def failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*arguments: Any, **named: Any) -> Any:
            found = method(*arguments, **named)
            self.left -= not self.trainer.sanity_checking
            if self.left == 0:
                raise FloatingPointError("on purpose")
            return found

        return fail


class Seldom(RollingCheckpoint):
    """Save after every third step."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, 1, every_n_steps=3)


def fail_and_resume(folder: Path, build: Callable[[], Moved], *callbacks: L.Callback) -> tuple[int, dict[str, Any]]:
    """Return at which step the failed run was saved, and how the resumed one ends."""
    options = {"val_check_interval": 3, "rolling": Seldom}
    with pytest.raises(FloatingPointError, match="on purpose"):
        fit(folder, *callbacks, build=build, **options)
    saved = torch.load(folder / "last.ckpt", weights_only=True)
    end = fit(folder, *map(again, callbacks), resume=folder / "last.ckpt", **options)
    return saved["global_step"], end


def again(callback: L.Callback) -> L.Callback:
    return EMAWeightAveraging(decay=0.9) if isinstance(callback, EMAWeightAveraging) else type(callback)()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fit(tmp_path_factory.mktemp("whole"), val_check_interval=3, rolling=Seldom)


@pytest.mark.filterwarnings("ignore:No checkpoint is written of what the failure left")
@pytest.mark.parametrize(
    ("method", "count", "step"),
    [
        ("on_train_epoch_start", 2, 6),
        ("on_train_batch_start", 6, 3),
        ("training_step", 6, 3),
        ("on_after_backward", 6, 3),
        ("on_before_optimizer_step", 6, 3),
        ("on_train_batch_end", 5, 3),
        ("on_validation_start", 2, 6),
        ("validation_step", 4, 6),
        ("on_validation_end", 2, 6),
        ("on_train_epoch_end", 1, 6),
    ],
)
def test_a_failure_leaves_nothing_that_resumes_otherwise(
    method: str, count: int, step: int, whole: dict[str, Any], tmp_path: Path
) -> None:
    """The counting callback keeps a state, so a step that has begun for it is never saved."""
    saved, end = fail_and_resume(tmp_path, lambda: Fails(method, count))
    assert unequal(end, whole) == []
    assert saved == step


@pytest.mark.filterwarnings("ignore:No checkpoint is written of what the failure left")
def test_averaged_weights_are_not_saved_for_the_trained_ones(tmp_path: Path) -> None:
    average = EMAWeightAveraging(decay=0.9)
    truth = fit(tmp_path / "whole", average, val_check_interval=3, rolling=Seldom)
    _, end = fail_and_resume(tmp_path / "run", lambda: Fails("validation_step", 3), EMAWeightAveraging(decay=0.9))
    assert unequal(end, truth) == []


class Terminated(Moved):
    """Gets a SIGTERM in a step, as far as the trainer knows."""

    at = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.trainer._signal_connector.received_sigterm |= self.trainer.global_step == self.at
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("step", [3, 4, 6], ids=["in an epoch", "before a validation", "at the end of an epoch"])
def test_sigterm_saves_the_step_it_came_in(step: int, whole: dict[str, Any], tmp_path: Path) -> None:
    def build() -> Terminated:
        module = Terminated()
        module.at = step
        return module

    options = {"val_check_interval": 3, "rolling": Seldom}
    with pytest.raises(SIGTERMException):
        fit(tmp_path, build=build, **options)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == step + 1
    assert unequal(fit(tmp_path, resume=tmp_path / "last.ckpt", **options), whole) == []


class Stream(IterableDataset[Any]):
    """Rows in an order of its own."""

    def __iter__(self) -> Iterator[Any]:
        return iter(rows(BATCHES * ROWS))


class Streamed(Shuffled):
    """A stream, and no way to start within it."""

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Stream(), ROWS)


def test_a_stream_is_refused_before_the_first_step(tmp_path: Path) -> None:
    sentence = r"The train data must be able to start within an epoch .* `IterableDataset` Stream cannot: .* Use a data"
    with pytest.raises(ValueError, match=sentence):
        fit(tmp_path, data=Streamed())
    assert not (tmp_path / "last.ckpt").exists()


def test_a_checkpoint_from_within_a_step_is_taken_last_and_says_so(tmp_path: Path) -> None:
    """Lightning's own callback saves before the hooks of the end of the step have run."""
    stock = ModelCheckpoint(tmp_path, "stock", every_n_train_steps=5)
    fit(tmp_path, stock, rolling=Seldom, max_steps=6)
    for age, name in enumerate(("last", "stock")):
        os.utime(tmp_path / f"{name}.ckpt", (age, age))
    for best in tmp_path.glob("best*"):
        best.unlink()
    assert newest_good(tmp_path) == (tmp_path / "last.ckpt", [])
    (tmp_path / "last.ckpt").unlink()
    assert newest_good(tmp_path) == (tmp_path / "stock.ckpt", [])
    with pytest.warns(UserWarning, match="The checkpoint was not written between two steps: .* Resume from a `last.ck"):
        fit(tmp_path, resume=tmp_path / "stock.ckpt", rolling=Seldom, max_steps=6)


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
