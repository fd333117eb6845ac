# SPDX-License-Identifier: Apache-2.0
"""Keep the newest checkpoints of a run, bounded in number and size, and write one whenever it is stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_monocon.runs import files
from lightning_monocon.runs.checkpoints import probe_checkpoint_folders
from lightning_monocon.training.between_steps import Phase, Steps, callbacks_of, watch_steps
from lightning_monocon.training.step_state import (
    BEFORE_THE_UPDATE,
    IN_A_VALIDATION,
    StepState,
    copied_states,
    fingerprint,
    is_foreign,
    stateful,
)

LAST = "last"
_COST_IN_TIME = 100  # checkpoints take one hundredth of the time at most
_STEPS_BETWEEN_QUESTIONS = 20


class RollingCheckpoint(Checkpoint):
    """Write ``last.ckpt`` between two steps, and keep earlier ones as ``last-1.ckpt``, ``last-2.ckpt`` and so on.

    A checkpoint is written when everything that belongs to the last step is done (validation, schedulers, logging, the
    end of the epoch, with the hooks of every callback and of the module) and nothing of the next has begun. One is
    written at the end, before ``on_train_end``, and one at a signal or an exception, if the state before the failed
    step can be restored: buffers and the options of the optimizers get their earlier values. If that is not enough
    (an update was cut short, weights are not finite, or a callback with a state of its own has already run), the
    earlier checkpoints are kept instead.

    Args:
        dirpath: The run's folder of checkpoints.
        keep: Number of checkpoints. With two, a damaged one costs at most the training between them.
        max_bytes: Bound of their total size; the newest is kept whatever its size.
        every_n_steps: Optimizer steps between two checkpoints.
        every_n_seconds: Seconds between two, or 100 times the duration of the last one, if that is more. Without this
            and without ``every_n_steps``, one is written after every epoch.

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
        self._steps: Steps | None = None
        self._state: StepState | None = None
        self._begun = (0, 0)
        self._weights: list[Tensor] = []
        self._states: dict[str, Any] = {}
        self._updating = False

    @property
    def path(self) -> Path:
        """Return the path of the newest checkpoint."""
        return self._name(0)

    @property
    def best_model_path(self) -> str:
        """Return the newest checkpoint, for Lightning's request of the best if no other callback knows it."""
        return str(self.path) if self.path.exists() else ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Follow the steps of the fit."""
        if stage == "fit":
            self._steps = watch_steps(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the folder can be written to, and remove files that an earlier kill left half written."""
        probe_checkpoint_folders(trainer)
        if trainer.is_global_zero:
            for file in files.leftovers(Path(self.dirpath)):
                file.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from here, since a resumed run has just been saved."""
        self._saved_step, self._saved_epoch = trainer.global_step, trainer.current_epoch
        self._saved_at = time.monotonic()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Record that the weights may be half updated until the step is over."""
        self._updating = True

    def before_validation(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state that a validation may change, in case it fails."""
        self._note(trainer, pl_module)
        self._weights = fingerprint(pl_module)
        self._states = copied_states(stateful(callbacks_of(trainer), IN_A_VALIDATION))

    def between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state that the next step may change, in case it fails."""
        self._note(trainer, pl_module)
        self._states = {}

    def save_between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is due."""
        if self._steps is not None and not self._steps.accumulating and self._is_due(trainer):
            self._save(trainer)

    def after_last_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end of the training."""
        if trainer.global_step != self._saved_step and self._may_save(trainer):
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state after the last complete step, unless it is saved; never hide the exception behind another."""
        if trainer.global_step == self._saved_step or not self._may_save(trainer):
            return
        reason = self._restore(trainer, pl_module)
        if reason is not None:
            rank_zero_warn(f"No checkpoint is written after the failure: {reason}. Earlier checkpoints are kept.")
            return
        try:
            self._save(trainer, alone=True)
        except (RuntimeError, OSError) as error:
            if not isinstance(exception, files.WriteError):  # which is itself the failed write
                rank_zero_warn(f"No checkpoint could be written after the failure: {error}")

    def _note(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the state between two steps of the optimizer; between two batches of one, gradients would be missing."""
        if self._steps is not None and not self._steps.accumulating:
            self._state, self._begun = StepState(trainer, pl_module), self._steps.begun
            self._updating = False

    def _restore(self, trainer: Trainer, pl_module: LightningModule) -> str | None:
        """Restore the state before the failure; return why that is impossible, if it is."""
        steps, state = self._steps, self._state
        if steps is None or state is None or self._updating or steps.stepped:
            return "the step was cut short after its update had begun"

        untouched = steps.begun == self._begun
        validating = untouched and steps.phase is Phase.VALIDATING
        if steps.phase is not Phase.BETWEEN and not validating:
            return "what belongs to the end of the step or of its epoch has run in part"
        if validating or not untouched:
            hooks = IN_A_VALIDATION if validating else _hooks_of_a_step(trainer)
            moved = [one for one in stateful(callbacks_of(trainer), hooks) if one.state_key not in self._states]
            if moved or is_foreign(pl_module, "on_save_checkpoint"):
                name = type(moved[0] if moved else pl_module).__name__
                return f"{name} saves a state of its own, which the failed step may have changed"

        state.put_back(trainer, pl_module)
        if not state.same_weights(pl_module) or (validating and not _equal(self._weights, fingerprint(pl_module))):
            return "a hook has replaced the trained weights by others"
        return None if _is_finite(pl_module) else "the weights are not finite"

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
        # every rank must get the same answer, and asking costs time
        return trainer.global_step % _STEPS_BETWEEN_QUESTIONS == 0 and bool(trainer.strategy.broadcast(due))

    def _may_save(self, trainer: Trainer) -> bool:
        return not (getattr(trainer, "fast_dev_run", False) or trainer.sanity_checking)

    def _save(self, trainer: Trainer, alone: bool = False) -> None:
        """Write ``last.ckpt``; ``alone``, without waiting for the other ranks, which may never arrive."""
        started = time.monotonic()
        if trainer.is_global_zero:
            self._make_room()
        if alone:
            self._save_alone(trainer)
        else:
            trainer.save_checkpoint(self.path, weights_only=False)
        self._saved_step, self._saved_epoch = trainer.global_step, trainer.current_epoch
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - started

    def _save_alone(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero or self._steps is None:
            return
        self._steps.exact = True  # `_restore` has made it so
        checkpoint = trainer._checkpoint_connector.dump_checkpoint(False)
        checkpoint["callbacks"].update(self._states)
        trainer.strategy.save_checkpoint(checkpoint, self.path)

    def _make_room(self) -> None:
        """Give every checkpoint the name of the one before it; remove those beyond the number or the size."""
        newest = self.path.stat().st_size if self.path.exists() else 0
        sizes = [self._name(i).stat().st_size for i in range(self.keep - 1) if self._name(i).exists()]
        fitting, total = 0, newest  # the next one will be about as large
        while fitting < len(sizes) and (self.max_bytes is None or total + sizes[fitting] <= self.max_bytes):
            total += sizes[fitting]
            fitting += 1
        for i in range(fitting, 0, -1):
            files.copy(self._name(i - 1), self._name(i))
        for file in Path(self.dirpath).glob(f"{LAST}-*.ckpt"):
            age = file.stem.removeprefix(f"{LAST}-")
            # our copies have a number and a sidecar; last-good.ckpt and last-v1.ckpt are other files
            if age.isdecimal() and int(age) > fitting and files.sidecar(file).exists():
                files.remove(file)

    def _name(self, age: int) -> Path:
        return Path(self.dirpath) / (f"{LAST}-{age}.ckpt" if age else f"{LAST}.ckpt")


def _hooks_of_a_step(trainer: Trainer) -> tuple[str, ...]:
    """Return the hooks that may have run since the last step of the optimizer."""
    return (*BEFORE_THE_UPDATE, "on_train_batch_end") if trainer.accumulate_grad_batches > 1 else BEFORE_THE_UPDATE


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _is_finite(pl_module: LightningModule) -> bool:
    return all(bool(parameter.detach().isfinite().all()) for parameter in pl_module.parameters())
