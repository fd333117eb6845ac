# SPDX-License-Identifier: Apache-2.0
"""Make a resumed run equal to an uninterrupted one, bit for bit."""

from __future__ import annotations

import random
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_monocon.data.keyed_random import key, run_seed


@runtime_checkable
class Resumable(Protocol):
    """A data module that can start its next train loader anywhere."""

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next train loader start at ``batch`` of ``epoch``."""


class ExactResume(Callback):
    """Key every step's randomness and tell the data module where to go on.

    Stock Lightning keeps no random state in a checkpoint, and a shuffling loader starts anew on resume. Here the
    generators of torch, NumPy and Python are seeded before each step with a hash of (seed, rank, epoch, batch), so a
    step's dropout does not depend on what was drawn before it; the position goes into the checkpoint; and a
    `Resumable` data module, whose order and augmentation are functions of (seed, epoch, sample), goes on from there.

    Checkpoints written at the end of an epoch, in either phase, resume exactly on the same hardware and software.

    Args:
        seed: The run's seed; ``None`` takes that of `seed_everything`, or 0 without one.

    Raises:
        ValueError: On resume, if the checkpoint was trained with another seed.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self.position = (0, 0)
        """Epoch and batch of the next step."""
        self._restored = False

    @property
    def seed(self) -> int:
        """The run's seed."""
        return run_seed(self._seed)

    def state_dict(self) -> dict[str, Any]:
        """Return seed and position."""
        return {"seed": self.seed, "position": list(self.position)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the position of a checkpoint of the same seed."""
        if state_dict["seed"] != self.seed:
            raise ValueError(
                f"`seed` must be that of the checkpoint, {state_dict['seed']}, got {self.seed}: another order would "
                "show some samples twice and others never. Resume with the checkpoint's seed."
            )
        epoch, batch = state_dict["position"]
        self.position, self._restored = (epoch, batch), True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arm the data module before it builds its loader."""
        data: object = getattr(trainer, "datamodule", None)
        if self._restored and isinstance(data, Resumable):
            data.resume_at(*self.position)
        self._restored = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  # Lightning's signature
        """Seed every generator for this step."""
        step = key(self.seed, trainer.global_rank, trainer.current_epoch, batch_idx)
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
        last = batch_idx + 1 >= trainer.num_training_batches
        self.position = (trainer.current_epoch + 1, 0) if last else (trainer.current_epoch, batch_idx + 1)
