# SPDX-License-Identifier: Apache-2.0
"""Keep the best checkpoint of a run, wherever its folder has been moved to."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Write ``best.ckpt`` at the end of a validation that beats all before it.

    Lightning forgets the best score when a run goes on in a folder of another name, and a worse checkpoint then
    replaces the best; this one keeps it.

    Args:
        dirpath: The run's folder of checkpoints.
        monitor: Name of a logged metric.
        mode: ``"max"`` or ``"min"``.
    """

    def __init__(self, dirpath: str, monitor: str = "val/knn_accuracy", mode: str = "max") -> None:
        super().__init__(
            dirpath, "best", monitor=monitor, mode=mode, save_on_train_epoch_end=False, enable_version_counter=False
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score, with its file in the present folder."""
        folder = str(self.dirpath)

        def here(path: str) -> str:
            return os.path.join(folder, os.path.basename(path)) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths if name in state_dict}
        scores = {here(path): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": scores, "dirpath": self.dirpath})
