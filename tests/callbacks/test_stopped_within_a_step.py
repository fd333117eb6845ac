# SPDX-License-Identifier: Apache-2.0
"""Stop runs in every kind of place; what they leave resumes exactly, or says that it may not."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from oracles.moved_state import BATCHES, ROWS, Moved, Seldom, Shuffled, fit, rows, unequal
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.runs.checkpoints import newest_good

pytestmark = [
    pytest.mark.usefixtures("deterministic"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`", "ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


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


@pytest.mark.filterwarnings("ignore:No checkpoint is written after the failure")
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


@pytest.mark.filterwarnings("ignore:No checkpoint is written after the failure")
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
