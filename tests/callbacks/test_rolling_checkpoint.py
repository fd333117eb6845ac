# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import RollingCheckpoint
from lightning_monocon.runs.checkpoints import DurableCheckpointIO, PlainCheckpointIO, newest_good
from lightning_monocon.runs.files import WriteError


class Line(L.LightningModule):
    """Four steps an epoch."""

    poison: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.layer.weight.isnan().any():
            raise FloatingPointError("poisoned")
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_train_batch_end(self, *arguments: Any) -> None:
        if self.global_step == self.poison:
            with torch.no_grad():
                self.layer.weight.fill_(float("nan"))


def fit(folder: Path, module: Line | None = None, epochs: int = 3, **options: Any) -> list[tuple[str, int]]:
    rolling = RollingCheckpoint(str(folder), **options)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[DurableCheckpointIO()], callbacks=[rolling],
    )  # fmt: skip
    trainer.fit(module or Line(), DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2))
    return found(folder)


def found(folder: Path) -> list[tuple[str, int]]:
    steps = {file.stem: torch.load(file, weights_only=True)["global_step"] for file in folder.glob("*.ckpt")}
    return sorted(steps.items(), key=lambda item: -item[1])


def test_the_newest_are_kept_by_number(tmp_path: Path) -> None:
    assert fit(tmp_path / "1", keep=1) == [("last", 12)]
    assert fit(tmp_path / "3", keep=3) == [("last", 12), ("last-1", 8), ("last-2", 4)]
    assert fit(tmp_path / "steps", keep=3, every_n_steps=5) == [("last", 12), ("last-1", 10), ("last-2", 5)]
    assert fit(tmp_path / "seconds", every_n_seconds=3600.0) == [("last", 12)]


def test_a_smaller_number_removes_what_is_too_much(tmp_path: Path) -> None:
    fit(tmp_path, keep=3)
    assert fit(tmp_path, keep=2) == [("last", 12), ("last-1", 8)]
    assert {file.name for file in tmp_path.glob("*.sha256")} == {"last.ckpt.sha256", "last-1.ckpt.sha256"}


def test_checkpoints_of_others_are_not_removed(tmp_path: Path) -> None:
    mine = {"last-good.ckpt", "last-v1.ckpt", "last-7.ckpt"}  # the user's, ModelCheckpoint's, a copy without sidecar
    for name in mine:
        (tmp_path / name).write_text("precious")
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[DurableCheckpointIO()], callbacks=[RollingCheckpoint(str(tmp_path), keep=1)],
    )  # fmt: skip
    trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2))
    assert {(tmp_path / name).read_text() for name in mine} == {"precious"}


def test_the_newest_are_kept_by_size(tmp_path: Path) -> None:
    fit(tmp_path / "size")
    size = (tmp_path / "size" / "last.ckpt").stat().st_size
    assert fit(tmp_path / "a", keep=9, max_bytes=int(2.5 * size)) == [("last", 12), ("last-1", 8)]
    assert fit(tmp_path / "b", keep=9, max_bytes=1) == [("last", 12)]


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    module = Line()
    module.poison = 6
    with (
        pytest.raises(FloatingPointError),
        pytest.warns(UserWarning, match="No checkpoint is written .*: the weights are not finite"),
    ):
        fit(tmp_path, module)
    assert found(tmp_path) == [("last", 4)]


def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.123.tmp").write_bytes(b"half")
    fit(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_stops_the_run_before_its_first_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    module = Line()
    before = module.layer.weight.detach().clone()
    with pytest.raises(RuntimeError, match=r"cannot write '\.probe-\d+' to "):
        fit(tmp_path / "file" / "folder", module)
    assert torch.equal(module.layer.weight, before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep": 0}, "`keep` must be at least 1, got 0"),
        ({"max_bytes": 0}, "`max_bytes` must be at least 1, got 0"),
        ({"every_n_steps": 0}, "`every_n_steps` must be at least 1, got 0"),
        ({"every_n_seconds": -1.0}, "`every_n_seconds` must not be negative"),
        ({"every_n_seconds": 1.0, "every_n_steps": 1}, "not be given together with `every_n_steps`; got 1.0 and 1"),
    ],
)
def test_bad_bounds(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        RollingCheckpoint("folder", **options)


class Stateful(L.Callback):
    """Keeps a value in every checkpoint."""

    def __init__(self, value: object) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.value}


class Described(Line):
    """Keeps its arguments in every checkpoint."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.save_hyperparameters()


@pytest.mark.parametrize(
    ("module", "state", "place"),
    [
        (Line(), np.zeros(2), r"checkpoint\['callbacks'\]\['Stateful'\]\['best'\]"),
        (Described(Path("data")), 0.5, r"checkpoint\['hyper_parameters'\]\['value'\]"),
    ],
    ids=["callback", "hyper-parameter"],
)
@pytest.mark.parametrize("plugin", [DurableCheckpointIO(), PlainCheckpointIO()], ids=["durable", "plain"])
def test_a_state_that_no_checkpoint_can_hold_stops_the_run_before_its_first_step(
    tmp_path: Path, module: Line, state: object, place: str, plugin: Any
) -> None:
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[plugin], callbacks=[Stateful(state), RollingCheckpoint(str(tmp_path))],
    )  # fmt: skip
    with pytest.raises(WriteError, match=rf"cannot write the states of this run: `{place}` must be a plain value"):
        trainer.fit(module, DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2))
    assert trainer.global_step == 0 and not list(tmp_path.iterdir())


def test_numpy_numbers_in_states_and_rates_are_saved_and_resumed(tmp_path: Path) -> None:
    class Rated(Line):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), np.float64(0.1))  # as `np.logspace` gives it

    callback = Stateful(np.float64(0.5))
    for epochs in (1, 2):
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=epochs, logger=False, enable_progress_bar=False, enable_model_summary=False,
            plugins=[DurableCheckpointIO()], callbacks=[callback, RollingCheckpoint(str(tmp_path))],
        )  # fmt: skip
        path = tmp_path / "last.ckpt" if epochs > 1 else None
        trainer.fit(Rated(), DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2), ckpt_path=path)
    assert newest_good(tmp_path) == (tmp_path / "last.ckpt", [])
    assert trainer.global_step == 8
