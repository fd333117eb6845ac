# SPDX-License-Identifier: Apache-2.0
"""Keep the newest checkpoints of a run, bounded in number and size, and leave one whenever it is stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_monocon import durable_files
from lightning_monocon.durable import probe_checkpoint_folders

LAST = "last"
_COST_IN_TIME = 100  # checkpoints take one hundredth of the time at most
_STEPS_BETWEEN_QUESTIONS = 20


class RollingCheckpoint(Checkpoint):
    """Write ``last.ckpt`` between two steps, and keep those before it as ``last-1.ckpt``, ``last-2.ckpt`` ...

    A checkpoint is written where everything that belongs to the last step is done: validation, schedulers, logging.
    One is written at the end, and one at a signal or an exception, if the weights are whole: a step that fails leaves
    the buffers that it moved (batch-norm statistics) as it found them, and an update that was cut short, or weights
    that are not finite, are not saved.

    Args:
        dirpath: The run's folder of checkpoints.
        keep: Number of checkpoints. With two, a damaged one costs no more than the way between them.
        max_bytes: Bound of their size in all; the newest is kept whatever its size.
        every_n_steps: Optimizer steps between two checkpoints.
        every_n_seconds: Seconds between two, or 100 times what the last one took, if that is more. Without this and
            without ``every_n_steps`` one is written after every epoch.

    Raises:
        ValueError: If a number is below its bound, or both intervals are given.
    """

    def __init__(
        self,
        dirpath: str,
        keep: int = 2,
        max_bytes: int | None = None,
        every_n_steps: int | None = None,
        every_n_seconds: float | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"keep": keep, "every_n_steps": every_n_steps, "max_bytes": max_bytes}.items():
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}.")
        if every_n_seconds is not None and (every_n_steps is not None or not every_n_seconds >= 0):
            raise ValueError(
                f"`every_n_seconds` must not be negative, and not be given together with `every_n_steps`; got "
                f"{every_n_seconds} and {every_n_steps}."
            )
        self.dirpath = dirpath
        self.keep, self.max_bytes = keep, max_bytes
        self.every_n_steps, self.every_n_seconds = every_n_steps, every_n_seconds
        self._saved_step, self._saved_epoch, self._saved_at, self._cost = 0, 0, 0.0, 0.0
        self._buffers: dict[str, Tensor] | None = None
        self._updating = False

    @property
    def path(self) -> Path:
        """The newest checkpoint."""
        return self._name(0)

    @property
    def best_model_path(self) -> str:
        """The newest checkpoint, where Lightning asks for the best and no other callback knows it."""
        return str(self.path) if self.path.exists() else ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that the folder can be written to; remove what an earlier kill has left half written."""
        probe_checkpoint_folders(trainer)
        if trainer.is_global_zero:
            for file in durable_files.leftovers(Path(self.dirpath)):
                file.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here: a resumed run has just been saved."""
        self._saved_step, self._saved_epoch = trainer.global_step, trainer.current_epoch
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  # Lightning's signature
        """Save if it is time; note the buffers, in case this step fails."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        if self._is_due(trainer):
            self._save(trainer)
        self._buffers = {name: buffer.clone() for name, buffer in pl_module.named_buffers()}

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """From here to the end of the step the weights may be half updated."""
        self._updating = True

    def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
        """The step is whole."""
        if self._updating:
            self._buffers, self._updating = None, False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end."""
        if trainer.global_step != self._saved_step:
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what the last whole step left, unless it is saved; never hide the exception behind another."""
        if self._updating or trainer.global_step == self._saved_step or not self._may_save(trainer):
            return
        self._put_buffers_back(pl_module)
        if not _is_finite(pl_module):
            rank_zero_warn("The weights are not finite; they are not saved, and the checkpoints before them are kept.")
            return
        try:
            self._save(trainer, alone=True)
        except (RuntimeError, OSError) as error:
            if not isinstance(exception, durable_files.WriteError):  # which has just said so
                rank_zero_warn(f"No checkpoint could be written after the failure: {error}")

    def _is_due(self, trainer: Trainer) -> bool:
        steps = trainer.global_step - self._saved_step
        if not steps or not self._may_save(trainer):
            return False
        if self.every_n_steps is not None:
            return steps >= self.every_n_steps
        if self.every_n_seconds is None:
            return trainer.current_epoch != self._saved_epoch
        wait = max(self.every_n_seconds, _COST_IN_TIME * self._cost)
        due = time.monotonic() - self._saved_at >= wait
        if trainer.world_size == 1:
            return due
        # every rank must come to the same answer, and asking costs time
        return trainer.global_step % _STEPS_BETWEEN_QUESTIONS == 0 and bool(trainer.strategy.broadcast(due))

    def _may_save(self, trainer: Trainer) -> bool:
        return not (getattr(trainer, "fast_dev_run", False) or trainer.sanity_checking)

    def _save(self, trainer: Trainer, alone: bool = False) -> None:
        """Write ``last.ckpt``; ``alone``, the other ranks are not waited for, as they may never come."""
        started = time.monotonic()
        if trainer.is_global_zero:
            self._make_room()
        if alone:
            if trainer.is_global_zero:
                checkpoint = trainer._checkpoint_connector.dump_checkpoint(False)
                trainer.strategy.save_checkpoint(checkpoint, self.path)
        else:
            trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step, self._saved_epoch = trainer.global_step, trainer.current_epoch
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def _make_room(self) -> None:
        """Give every checkpoint the name of the one before it; drop those that are too many or too large."""
        newest = self.path.stat().st_size if self.path.exists() else 0
        sizes = [self._name(i).stat().st_size for i in range(self.keep - 1) if self._name(i).exists()]
        fitting, total = 0, newest  # the one to come will be about as large
        while fitting < len(sizes) and (self.max_bytes is None or total + sizes[fitting] <= self.max_bytes):
            total += sizes[fitting]
            fitting += 1
        for i in range(fitting, 0, -1):
            durable_files.copy(self._name(i - 1), self._name(i))
        for file in Path(self.dirpath).glob(f"{LAST}-*.ckpt"):
            age = file.stem.removeprefix(f"{LAST}-")
            # copies of ours have a number and a sidecar; last-good.ckpt and last-v1.ckpt are somebody else's
            if age.isdecimal() and int(age) > fitting and durable_files.sidecar(file).exists():
                durable_files.remove(file)

    def _name(self, age: int) -> Path:
        return Path(self.dirpath) / (f"{LAST}-{age}.ckpt" if age else f"{LAST}.ckpt")

    def _put_buffers_back(self, pl_module: LightningModule) -> None:
        if self._buffers is not None:
            with torch.no_grad():
                for name, buffer in pl_module.named_buffers():
                    if name in self._buffers:
                        buffer.copy_(self._buffers[name])


def _is_finite(pl_module: LightningModule) -> bool:
    return all(bool(parameter.detach().isfinite().all()) for parameter in pl_module.parameters())
