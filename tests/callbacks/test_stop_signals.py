# SPDX-License-Identifier: Apache-2.0
"""Signals in one process; tests/reliability/campaigns/signals.py sends them to whole runs."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_monocon.callbacks import RollingCheckpoint, StopSignals
from lightning_monocon.data.workers import is_in_a_loader
from lightning_monocon.runs.checkpoints import DurableCheckpointIO

STOPS = (signal.SIGINT, signal.SIGHUP)


class Line(L.LightningModule):
    """Calls ``act`` in its fourth step."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(2, 1), act

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 3:
            self.act()
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, act: Callable[[], object]) -> tuple[StopSignals, int]:
    """Return the callback and the step of the checkpoint that an interrupted run leaves."""
    stops = StopSignals()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[DurableCheckpointIO()],
        callbacks=[stops, RollingCheckpoint(str(folder), every_n_steps=100)],
    )  # fmt: skip
    with pytest.raises(SystemExit):
        trainer.fit(Line(act), DataLoader(TensorDataset(torch.ones(16, 2)), batch_size=2))
    return stops, torch.load(folder / "last.ckpt", weights_only=True)["global_step"]


@pytest.fixture(autouse=True)
def handlers() -> Any:
    """A known start, and a look at the end: whoever had a signal has it back."""
    before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGCHLD)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_the_step_under_way_is_finished_and_saved(number: signal.Signals, tmp_path: Path) -> None:
    stops, saved = fit(tmp_path, lambda: signal.raise_signal(number))
    assert (stops.received, saved) == (number, 4)


def test_a_second_signal_stops_within_the_step_and_the_third_disturbs_no_save(tmp_path: Path) -> None:
    def hurry() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            signal.raise_signal(signal.SIGINT)  # the way out has begun
            signal.raise_signal(signal.SIGHUP)

    stops, saved = fit(tmp_path, hurry)
    assert (stops.received, saved) == (signal.SIGINT, 3)


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what `nohup` does

    def act() -> None:
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)

    fit(tmp_path, act)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_process_that_ends_within_a_step_is_reported_at_the_next_fetch_alone(tmp_path: Path) -> None:
    """torch's handler raises wherever the main process is; a step must not be cut short by it."""
    seen: list[str] = []

    def torchs(number: int, frame: FrameType | None) -> None:
        seen.append("loader" if is_in_a_loader(frame) else "step")
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")

    signal.signal(signal.SIGCHLD, torchs)

    def act() -> None:
        signal.raise_signal(signal.SIGCHLD)
        signal.raise_signal(signal.SIGINT)

    assert fit(tmp_path, act)[1] == 4
    assert seen == ["step"]


class Asking(TensorDataset):
    """Says for every row whether it is being fetched."""

    def __getitem__(self, index: int) -> Any:
        return is_in_a_loader(sys._getframe())


def test_a_fetch_is_known_by_its_frames() -> None:
    assert list(DataLoader(Asking(torch.ones(2)), batch_size=None)) == [True, True]
    assert not is_in_a_loader(sys._getframe())
