# SPDX-License-Identifier: Apache-2.0
"""Stop at, or skip, the first training step whose numbers are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_monocon.callbacks._finite import (
    Arrivals,
    NonFiniteError,
    Place,
    bad_names,
    likely_cause,
    listed,
    magnitude,
    where,
)
from lightning_monocon.functional.checks import check_choice
from lightning_monocon.runs.choices import NanPolicy
from lightning_monocon.training.batches import tensors_in

_OF_THE_LOSS = ("`embeddings` must be finite", "`embeddings` must have a length above")


class NaNGuard(Callback):
    """Find NaN and infinity in inputs, loss, gradients and weights at the step where they first appear.

    The error names epoch, batch, step and, if the order of the samples is known, the samples, with the likely cause:
    bad input, learning rate, overflow of float16, zero vectors. Weights are checked when training starts, which finds a
    bad checkpoint, and before every save, so that no poisoned checkpoint replaces a good one.

    A run with finite numbers is not changed by one bit. On the CPU every value is checked immediately. On a GPU
    ``"raise"`` never waits: the largest of each is copied after the step and read when it has arrived, usually one step
    later. ``"skip"`` has to know before the optimizer steps, and waits for the device once in each step.

    ``"skip"`` leaves out the optimizer's step, restores the statistics of batch norm, warns, counts, and logs
    ``nan_guard/skipped``. On several ranks only steps whose gradients (which the ranks share) are bad are skipped.
    Overflows that a gradient scaler (``precision="16-mixed"``) handles are left to it; they also count as skipped in a
    row.

    Args:
        nan_policy: ``"raise"`` stops the run, ``"skip"`` continues without the step.
        patience: Number of steps skipped in a row after which ``"skip"`` raises too.
        check_inputs: Whether to check floating-point inputs too; False if infinity is a legal input, as in an additive
            mask.

    Raises:
        ValueError: If ``nan_policy`` is unknown or ``patience`` is not positive.
        NonFiniteError: If a number in training is not finite, as described above.
    """

    def __init__(self, nan_policy: NanPolicy = "raise", patience: int = 10, check_inputs: bool = True) -> None:
        check_choice("nan_policy", nan_policy, get_args(NanPolicy))
        if patience < 1:
            raise ValueError(f"`patience` must be a positive number of steps; got {patience}.")
        self.nan_policy, self.patience, self.check_inputs = nan_policy, patience, check_inputs
        self.skipped = 0
        """Steps left out so far."""
        self._in_a_row = 0
        self._place = Place(0, 0, 0, None)
        self._bad: str | None = None  # what is bad about the current step, if it is to be skipped
        self._arrivals = Arrivals()
        self._weights: list[Tensor] = []
        self._statistics: list[tuple[Tensor, Tensor]] = []
        self._release: Callable[[], None] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the number of skipped steps."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of skipped steps."""
        self.skipped = int(state_dict["skipped"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the weights that training starts from."""
        if names := bad_names(pl_module):
            raise NonFiniteError(
                f"The weights must be finite when training starts; {listed(names)} are not. The checkpoint or the "
                "initialisation is poisoned: start from an earlier checkpoint."
            )
        self._arrivals.clear()
        self._weights = list(pl_module.parameters())
        self._wrap(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Check the inputs, and keep the statistics that a skipped step must restore."""
        self._place = Place(trainer.current_epoch, batch_idx, trainer.global_step, batch)
        if self.nan_policy == "skip":
            self._statistics = [(value, value.clone()) for value in _running_statistics(pl_module)]
        if self.check_inputs:
            self._judge(trainer, pl_module, "an input", magnitude(tensors_in(batch)), alone=True)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss."""
        self._judge(trainer, pl_module, "the loss", loss.detach(), alone=True)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the gradients, and leave the step out if something was bad."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if scaled and self._bad is None:
            self._count_overflow(trainer, pl_module, gradients)
            return
        self._judge(trainer, pl_module, "a gradient", magnitude(gradients))
        if self._bad is not None:
            optimizer.zero_grad(set_to_none=True)  # AdamW skips a parameter without gradient, and its decay too

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Check the weights, or count a skipped step."""
        if self._bad is not None:
            self._note_skipped(trainer, pl_module)
        else:
            self._in_a_row = 0 if getattr(trainer.precision_plugin, "scaler", None) is None else self._in_a_row
            self._judge(trainer, pl_module, "a weight", magnitude(self._weights), can_skip=False)
        self._read(trainer, pl_module)
        self._statistics = []

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights that are not finite."""
        if names := bad_names(pl_module):
            raise NonFiniteError(
                f"No checkpoint is written at step {trainer.global_step}: {listed(names)} are not finite. "
                f"Earlier checkpoints are unchanged.{_last_good(trainer)}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the values that have not arrived, and release the module."""
        self._unwrap()
        self._read(trainer, pl_module, wait=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Release the module."""
        self._unwrap()

    def _judge(
        self,
        trainer: Trainer,
        module: LightningModule,
        what: str,
        value: Tensor,
        alone: bool = False,
        can_skip: bool = True,
    ) -> None:
        """Check a value, now or when it has arrived; ``alone`` if other ranks may have a good one."""
        if value.is_cuda and self.nan_policy == "raise":
            self._arrivals.send(what, value, self._place)
        elif self._bad is None and not (alone and self.nan_policy == "skip" and trainer.world_size > 1):
            if not math.isfinite(value.item()):
                self._found(trainer, module, what, self._place, can_skip=can_skip)

    def _read(self, trainer: Trainer, module: LightningModule, wait: bool = False) -> None:
        """Check the values that have arrived from the device."""
        for what, place in self._arrivals.bad(wait):
            self._found(trainer, module, what, place)

    def _found(
        self,
        trainer: Trainer,
        module: LightningModule,
        what: str,
        place: Place,
        reason: str = "",
        can_skip: bool = True,
    ) -> None:
        text = (
            f"{what[0].upper()}{what[1:]} is not finite at {where(trainer, place)}. "
            f"Likely cause: {likely_cause(trainer, module, place, reason)}"
        )
        if self.nan_policy == "raise" or not can_skip:
            raise NonFiniteError(text + _last_good(trainer))
        self._bad = text

    def _note_skipped(self, trainer: Trainer, module: LightningModule) -> None:
        for value, before in self._statistics:
            value.copy_(before)
        text, self._bad = self._bad, None
        self.skipped += 1
        self._in_a_row += 1
        rank_zero_warn(f"The step is skipped, {self.skipped} so far. {text}")
        module.log("nan_guard/skipped", float(self.skipped), rank_zero_only=True)
        if self._in_a_row >= self.patience:
            raise NonFiniteError(f"{self._in_a_row} steps in a row were skipped. {text}{_last_good(trainer)}")

    def _count_overflow(self, trainer: Trainer, module: LightningModule, gradients: list[Tensor]) -> None:
        """Leave an overflow to the gradient scaler, which leaves the step out and lowers its scale."""
        if self.nan_policy == "raise":  # reading it would make the host wait; a lost run is visible in the loss
            return
        self._in_a_row = 0 if magnitude(gradients).isfinite() else self._in_a_row + 1
        if self._in_a_row >= self.patience:
            self._found(trainer, module, "a gradient", self._place, can_skip=False)

    def _wrap(self, trainer: Trainer, module: LightningModule) -> None:
        """Wrap the training step of the module: if the loss refuses a batch, name it or skip it."""
        own, step = module.__dict__.get("training_step"), module.training_step

        def guarded(*args: object, **kwargs: object) -> object:
            return self._guarded(trainer, module, step, *args, **kwargs)

        # Lightning reads the signature at every step, and looks here first
        guarded.__wrapped__ = getattr(step, "__wrapped__", step)  # type: ignore[attr-defined]  # of any function
        module.__dict__["training_step"] = guarded
        self._release = partial(_give_back, module, own)

    def _unwrap(self) -> None:
        self._weights = []
        if self._release is not None:
            self._release()
            self._release = None

    def _guarded(
        self, trainer: Trainer, module: LightningModule, step: Callable[..., object], *args: object, **kwargs: object
    ) -> object:
        if self._bad is not None:  # the inputs
            return None
        try:
            return step(*args, **kwargs)
        except ValueError as error:
            if not str(error).startswith(_OF_THE_LOSS):
                raise
            self._found(trainer, module, "the loss", self._place, str(error), can_skip=trainer.world_size == 1)
            return None


def _give_back(module: LightningModule, own: object) -> None:
    """Undo `NaNGuard._wrap`; ``own`` is a training step that the instance had before."""
    module.__dict__.pop("training_step", None)
    if own is not None:
        module.__dict__["training_step"] = own


def _running_statistics(module: nn.Module) -> list[Tensor]:
    """Return the statistics that batch norm learns in a forward pass."""
    return [buffer for name, buffer in module.named_buffers() if "running_" in name or "num_batches" in name]


def _last_good(trainer: Trainer) -> str:
    """Return a sentence that names the last checkpoint, or an empty text."""
    for callback in trainer.checkpoint_callbacks:
        path = getattr(callback, "last_model_path", "") or getattr(callback, "best_model_path", "")
        if path:
            return f" The last good checkpoint is {path}."
    return ""
