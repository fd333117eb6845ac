# SPDX-License-Identifier: Apache-2.0
"""Make a resumed run equal to an uninterrupted one, bit for bit."""

from __future__ import annotations

import random
import warnings
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_monocon.data.keyed_random import key, run_seed
from lightning_monocon.durable import probe_checkpoint_folders
from lightning_monocon.progress import Position, add_to_means, between_epochs, repair, running_means
from lightning_monocon.settings import Settings, differences, run_settings


@runtime_checkable
class Resumable(Protocol):
    """A data module that can start its next train loader anywhere."""

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next train loader start at ``batch`` of ``epoch``."""


class ExactResume(Callback):
    """Key every step's randomness, tell the data module where to go on, and refuse to go on with other settings.

    Stock Lightning keeps no random state in a checkpoint, a shuffling loader starts anew on resume, and its progress
    counters go wrong on the second resume. Here the generators of torch, NumPy and Python are seeded before each step
    with a hash of (seed, rank, epoch, batch), so a step's dropout does not depend on what was drawn before it; the
    position goes into the checkpoint and the counters are set to it; and a `Resumable` data module, whose order and
    augmentation are functions of (seed, epoch, sample), goes on from there.

    Checkpoints written between two steps resume exactly, in either phase, at the end of an epoch or within it, on the
    same hardware and software. With gradient accumulation those between two optimizer steps do.

    Args:
        seed: The run's seed; ``None`` takes that of `seed_everything`, or 0 without one.
        allow_drift: Go on although settings differ from the checkpoint's, with a warning.

    Raises:
        ValueError: On resume, if the seed, the world size, a hyper-parameter or a limit of the trainer is not the
            checkpoint's.
    """

    def __init__(self, seed: int | None = None, allow_drift: bool = False) -> None:
        self._seed, self.allow_drift = seed, allow_drift
        self.position = Position(0, 0)
        """Epoch and batch of the next step."""
        self._validated: Position | None = None  # where a validation is under way
        self._settings: Settings = {}
        self._restored = False
        self._earlier: dict[str, list[float | int]] = {}
        self._means: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def seed(self) -> int:
        """The run's seed."""
        return run_seed(self._seed)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the settings; Lightning restores a checkpoint after this."""
        if stage == "fit":
            self._settings = run_settings(trainer, pl_module, self.seed)

    def state_dict(self) -> dict[str, Any]:
        """Return seed, position, settings, and what an epoch that is under way needs beside them."""
        state: dict[str, Any] = {"seed": self.seed, "position": list(self.position), "settings": self._settings}
        if self._validated is not None:
            state["pending"] = list(self._validated)
        if self.position.batch:
            state["means"] = {key: [total.item(), weight.item()] for key, (total, weight) in self._means.items()}
        return state

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Set the counters of a checkpoint that this callback was part of; Lightning reads them after this."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state is not None and "loops" in checkpoint:
            pending = state.get("pending")
            repair(checkpoint["loops"]["fit_loop"], Position(*state["position"]), pending and Position(*pending))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the position of a checkpoint of the same settings."""
        stored: Settings = state_dict.get("settings") or {"seed": state_dict["seed"]}
        present = self._settings if len(stored) > 1 else {"seed": self.seed}
        found = differences(stored, present) if self._settings else []
        if found and not self.allow_drift:
            raise ValueError(
                "The run must be resumed with the settings of its checkpoint, or it is another run; these differ: "
                f"{'; '.join(found)}. Set them back, start a new run, or go on all the same with `allow_drift=True` "
                "(--allow_drift true)."
            )
        if found:
            rank_zero_warn(
                f"The run goes on with other settings than its checkpoint's: {'; '.join(found)}. It will not end as an "
                "uninterrupted run would; a learning-rate schedule goes on as it was stored."
            )
        self.position, self._restored = Position(*state_dict["position"]), True
        self._validated = Position(*state_dict["pending"]) if "pending" in state_dict else None
        self._earlier = state_dict.get("means", {})

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arm the data module before it builds its loader; see that checkpoints can be written."""
        probe_checkpoint_folders(trainer)
        data: object = getattr(trainer, "datamodule", None)
        if self._restored and isinstance(data, Resumable):
            data.resume_at(*self.position)
            # it does start within the epoch, which Lightning can only know of a loader
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first epoch of a resumed run like any other."""
        if self._restored and not self.position.batch and self._validated is None:
            between_epochs(trainer)
        self._restored = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which validation is under way: a run that ends in it resumes with it."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            epoch = trainer.fit_loop.epoch_loop
            self._validated = Position(trainer.current_epoch, epoch.batch_progress.current.ready)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The validation is done."""
        self._validated = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  # Lightning's signature
        """Seed every generator for this step."""
        step = key(self.seed, trainer.global_rank, trainer.current_epoch, batch_idx)
        if pl_module.device.type == "cpu":
            torch.default_generator.manual_seed(step)  # what the next line does at a hundredth of the price
        else:
            torch.manual_seed(step)
        np.random.seed(step % 2**32)
        random.seed(step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401  # Lightning's signature
        batch_idx: int,
    ) -> None:
        """Note where the next step will be."""
        if self._earlier:
            add_to_means(trainer, self._earlier)
            self._earlier = {}
        epoch, following = trainer.current_epoch, batch_idx + 1
        if following >= trainer.num_training_batches:
            self.position = Position(epoch + 1, 0)
        elif following % trainer.accumulate_grad_batches == 0:  # gradients are not in a checkpoint
            self.position = Position(epoch, following)
            if trainer.world_size == 1:  # one rank's means are not those of the others
                self._means = running_means(trainer)
