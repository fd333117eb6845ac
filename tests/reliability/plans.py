# SPDX-License-Identifier: Apache-2.0
"""A callback that writes down every step of a run, and does to the run what a campaign has planned."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, Any

from lightning.pytorch import Callback, LightningModule, Trainer

FAIL_AT, PAUSE, PLAN = "TORTURE_FAIL_AT", "TORTURE_PAUSE", "TORTURE_PLAN"


class Trace(Callback):
    """Append one row a step to ``trace.jsonl``: where, learning rates, loss to the bit. Do what the campaign says.

    A campaign may let a step fail, pause after a step, or do ``what`` at a ``place`` of the step number ``step``, once:
    send a signal to this process (``SIGTERM``), its group (``SIGTERM-group``) or its loaders' processes
    (``SIGKILL-workers``), or move the run's folder (``move``).
    """

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        plans = filter(None, os.environ.get(PLAN, "").split(";"))
        self._plans = [(what, place, int(step)) for what, place, step in (plan.split(",") for plan in plans)]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if os.environ.get(FAIL_AT) == str(trainer.global_step):
            raise FloatingPointError("told to fail")
        self._do("step", trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._do("update", trainer)

    def on_validation_batch_start(self, trainer: Trainer, *arguments: Any) -> None:
        self._do("validation", trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero:
            return
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        row = [trainer.current_epoch, batch_idx, [rate.hex() for rate in rates], float(outputs["loss"]).hex()]
        if self._file is None:  # once: it goes with its folder where that is moved
            self._file = (Path(trainer.default_root_dir) / "trace.jsonl").open("a")
        with contextlib.suppress(OSError):  # of a full disk the product shall speak, and not this callback
            self._file.write(json.dumps([trainer.global_step, row]) + "\n")
            self._file.flush()
        if os.environ.get(PAUSE):
            signal.pause()

    def _do(self, place: str, trainer: Trainer) -> None:
        due = [plan for plan in self._plans if plan[1:] == (place, trainer.global_step)]
        self._plans = [plan for plan in self._plans if plan not in due]
        for what, _, _ in due:
            if what == "move":
                os.rename(trainer.default_root_dir, f"{trainer.default_root_dir}-moved")
            else:
                _send(*what.split("-"))


def _send(name: str, whom: str = "") -> None:
    """Send a signal from another process, as a shell or a batch system does."""
    own, workers = os.getpid(), [child.pid for child in multiprocessing.active_children()]
    target = {"": str(own), "group": str(-os.getpgrp()), "workers": " ".join(map(str, workers))}[whom]
    subprocess.run(["sh", "-c", f"kill -{name.removeprefix('SIG')} {target}"], start_new_session=True, check=True)
    if whom and name in ("SIGTERM", "SIGKILL"):
        for worker in filter(None, workers):  # until they have ended; whoever asks later finds them so
            os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
