# SPDX-License-Identifier: Apache-2.0
"""Train in two phases, warm-up and joint, in one ``fit``.

1. *warmup*: the encoder is frozen and only the head learns (cosine to 0); nothing is validated, and
   `EarlyStopping` and a `ModelCheckpoint` that wait for a validation are held back, so the warm-up affects neither
   patience nor the best checkpoint;
2. *joint*: a **fresh** optimizer with an encoder group and a head group, cosine to 0.

The optimizer is AdamW, as in the reference, or plain SGD, whose noise has the temperature rate / batch of the laws in
`lightning_monocon.landscape.theory.arrhenius`.

This is not Lightning's `BaseFinetuning`, which adds groups to one optimizer and freezes again on resume
(Lightning-AI/pytorch-lightning#21901). Here the phase is a string in the checkpoint, restored before
`configure_optimizers`, and the switch is made at the start of training *and* of every epoch, because a run resumed
from the last batch of an epoch never sees the next epoch's start.
"""

from __future__ import annotations

import sys
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from typing_extensions import Self

from lightning_monocon.data.workers import require_batches
from lightning_monocon.functional.checks import check_choice

Phase = Literal["warmup", "joint"]


class Schedule(NamedTuple):
    """Hold the rates and lengths of the two phases; `lightning_monocon.MonoCon` documents each."""

    lr_encoder: float = 2e-4
    lr_head: float = 2e-4
    lr_warmup: float = 1e-4
    warmup_epochs: int = 10
    weight_decay: float = 1e-4
    decay_head: bool = True
    bn_while_frozen: Literal["update", "freeze"] = "update"
    optimizer: Literal["adamw", "sgd"] = "adamw"

    def checked(self) -> Self:
        """Return the schedule; raise ValueError if a rate or length is negative or a name is unknown."""
        for name in ("lr_encoder", "lr_head", "lr_warmup", "weight_decay", "warmup_epochs"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        check_choice("bn_while_frozen", self.bn_while_frozen, ("update", "freeze"))
        check_choice("optimizer", self.optimizer, ("adamw", "sgd"))
        return self


class TwoPhaseModule(LightningModule):
    """Train an ``encoder`` and a ``head`` by a `Schedule`.

    Args:
        schedule: Rates and lengths of the phases.
    """

    encoder: nn.Module
    head: nn.Module
    phase: Phase

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        self._limit_val_batches: int | float | None = None

    def start_phase(self) -> None:
        """Begin with the warm-up, or with the joint phase if there is no warm-up or the head has no parameters.

        Encoder parameters that are frozen at the start stay frozen in both phases.
        """
        self._encoder_trainable = frozenset(n for n, p in self.encoder.named_parameters() if p.requires_grad)
        trainable = any(True for _ in self.head.parameters())
        self.warmup_epochs = self.schedule.warmup_epochs if trainable else 0
        self._enter("warmup" if self.warmup_epochs else "joint")

    def setup(self, stage: str) -> None:
        """Check that trainer and schedule fit each other, as `check_trainer` does."""
        if stage != "fit":
            return
        if getattr(self.trainer, "fast_dev_run", False):
            # a joint step covers everything that a warm-up step does
            self.warmup_epochs = 0
            self._enter("joint")
        self.check_trainer(self.trainer)

    def check_trainer(self, trainer: Trainer) -> None:
        """Check that the trainer leaves epochs to the joint phase, and has a strategy that can change phases.

        Raises:
            ValueError: If the trainer's ``max_epochs`` leaves no joint epoch.
            RuntimeError: If the warm-up was not tested with the strategy.
        """
        warmup_epochs = 0 if getattr(trainer, "fast_dev_run", False) else self.warmup_epochs
        epochs = trainer.max_epochs
        if epochs is None or epochs <= warmup_epochs:
            raise ValueError(
                f"`max_epochs` must exceed the {warmup_epochs} warm-up epochs, which come on top of the joint "
                f"ones; got {epochs}. Set max_epochs = warmup_epochs + joint epochs, or warmup_epochs=0."
            )

        strategy = trainer.strategy
        if warmup_epochs and not isinstance(strategy, DDPStrategy | SingleDeviceStrategy):
            raise RuntimeError(
                f"A warm-up was not tested with {type(strategy).__name__}: sharded parameters must be wrapped again "
                "when the encoder is unfrozen. Use strategy='ddp', or warmup_epochs=0."
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return an optimizer and a cosine to 0 for the current phase; None if nothing can be trained."""
        plan = self.schedule
        head_decay = plan.weight_decay if plan.decay_head else 0.0
        # everything but the encoder learns with the head, such as a learnt temperature
        others = [p for name, p in self.named_parameters() if not name.startswith("encoder.")]
        head = {"params": others, "weight_decay": head_decay, "name": "head"}
        if self.phase == "warmup":
            groups, epochs = [{**head, "lr": plan.lr_warmup}], self.warmup_epochs
        else:
            trainable = [p for p in self.encoder.parameters() if p.requires_grad]
            encoder = {"params": trainable, "lr": plan.lr_encoder, "name": "encoder"}
            groups = [group for group in (encoder, {**head, "lr": plan.lr_head}) if group["params"]]
            epochs = (self.trainer.max_epochs or 0) - self.warmup_epochs
        if not groups:
            return None
        optimizer = (AdamW if plan.optimizer == "adamw" else SGD)(groups, weight_decay=plan.weight_decay)
        return {"optimizer": optimizer, "lr_scheduler": CosineAnnealingLR(optimizer, epochs)}

    def on_train_start(self) -> None:
        """Enter the phase of the current epoch (a resumed run may begin with any)."""
        self._follow_schedule()

    def on_train_epoch_start(self) -> None:
        """Enter the phase of the current epoch; set the encoder's mode, which validation may have changed."""
        self._follow_schedule()
        self.encoder.train(self.phase == "joint" or self.schedule.bn_while_frozen == "update")

    def on_train_epoch_end(self) -> None:
        """Hold back, at the end of a warm-up epoch, what waits for a validation.

        Lightning asks the callbacks that monitor a metric after this hook.
        """
        if self.phase == "warmup":
            hold_back(self.trainer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the phase."""
        checkpoint["monocon"] = {"phase": self.phase}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the phase; Lightning calls this before `configure_optimizers`."""
        self._enter(checkpoint["monocon"]["phase"])

    def on_fit_end(self) -> None:
        """Check that there was something to train on; Lightning calls this even if it made no step.

        Raises:
            ValueError: If the train loader gives no batch.
        """
        require_batches(self.trainer)

    def freeze_by_phase(self) -> None:
        """Set which encoder parameters require gradients in this phase, whatever else has changed that."""
        self._enter(self.phase)

    def teardown(self, stage: str) -> None:
        """Restore the trainer's validation if training ends within the warm-up."""
        if stage == "fit":
            self._allow_validation()

    def _follow_schedule(self) -> None:
        if self.phase == "joint":
            return
        if self.trainer.current_epoch < self.warmup_epochs:
            if self._limit_val_batches is None:
                self._limit_val_batches, self.trainer.limit_val_batches = self.trainer.limit_val_batches, 0
            return
        _forget_compiled()
        self._enter("joint")
        self._allow_validation()
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy):
            # DDP reduces only what required a gradient when it wrapped: wrap again, or the encoders drift apart.
            strategy.model = self
            strategy.configure_ddp()
        strategy.setup_optimizers(self.trainer)

    def _allow_validation(self) -> None:
        if self._limit_val_batches is not None:
            self.trainer.limit_val_batches = self._limit_val_batches
            self._limit_val_batches = None

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(phase == "joint" and name in self._encoder_trainable)


def _forget_compiled() -> None:
    """Let compiled code be compiled again: torch 2.10 keeps the graph of frozen parameters, so they never train."""
    if "torch._dynamo" in sys.modules:  # else nothing is compiled, and the import takes seconds
        torch.compiler.reset()


class _Release(Checkpoint):
    """Restore the callbacks of the trainer; this runs last at the end of an epoch."""

    def __init__(self, callbacks: list[Callback]) -> None:
        self.callbacks = callbacks

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.callbacks = self.callbacks  # type: ignore[attr-defined]  # Lightning sets it untyped


def hold_back(trainer: Trainer) -> None:
    """Leave callbacks that have nothing to judge at the end of a warm-up epoch out of the current hook.

    `EarlyStopping` always waits, or it could end the run before its joint phase. A `ModelCheckpoint` waits until its
    metric exists; one that monitors the training loss, or nothing, saves as usual.
    """
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it untyped
    asked = [callback for callback in callbacks if not _waits(trainer, callback)]
    if len(asked) < len(callbacks):
        trainer.callbacks = [*asked, _Release(callbacks)]  # type: ignore[attr-defined]


def _waits(trainer: Trainer, callback: Callback) -> bool:
    if isinstance(callback, EarlyStopping):
        return True
    if not isinstance(callback, ModelCheckpoint) or callback.monitor is None:
        return False
    return callback.monitor not in {*trainer.callback_metrics, "epoch", "step"}
