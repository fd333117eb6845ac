# SPDX-License-Identifier: Apache-2.0
"""Keep the best checkpoint of a run, even if its folder was moved."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_monocon.training.between_steps import watch_steps


class BestCheckpoint(ModelCheckpoint):
    """Write ``best.ckpt`` after a validation that is better than all before it.

    It is written between two steps, when the hooks of the validation, the schedulers and the end of the epoch have run,
    so that a run can be resumed from it. Lightning forgets the best score when a run is resumed in a folder of another
    name, and a worse checkpoint then replaces the best; this callback keeps the score.

    Args:
        dirpath: The run's folder of checkpoints.
        monitor: Name of a logged metric.
        mode: ``"max"`` or ``"min"``.
    """

    def __init__(self, dirpath: str, monitor: str = "val/knn_accuracy", mode: str = "max") -> None:
        super().__init__(
            dirpath, "best", monitor=monitor, mode=mode, save_on_train_epoch_end=False, enable_version_counter=False
        )

        self._validated = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Follow the steps of the fit."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            watch_steps(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the comparison to `between_steps`, since other hooks still have to run."""
        self._validated = not trainer.sanity_checking

    def between_steps(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the last step had a validation and it is the best so far."""
        if self._validated:
            self._validated = False
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, with its file in the current folder."""
        folder = str(self.dirpath)

        def here(path: str) -> str:
            return os.path.join(folder, os.path.basename(path)) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths if name in state_dict}
        scores = {here(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": scores, "dirpath": self.dirpath})
        self.current_score = state_dict.get("current_score")
