# SPDX-License-Identifier: Apache-2.0
"""Write the embeddings of `monocon predict` to one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from lightning_monocon.inference.embed import GALLERY_AND_QUERY, concatenate
from lightning_monocon.runs import files
from lightning_monocon.scorecard.embeddings import EmbeddingSet


class EmbeddingWriter(BasePredictionWriter):
    """Write the embeddings of gallery and query to one ``.safetensors`` file, which `EmbeddingSet.load` reads.

    Args:
        path: The file; it appears whole or not at all.

    Raises:
        ValueError: If there are not two loaders, or if there are several ranks, each of which holds only a part.
    """

    def __init__(self, path: str) -> None:
        super().__init__(write_interval="epoch")
        self.path = Path(path)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse several ranks before anything is embedded, and remove what a killed attempt has left."""
        if trainer.world_size > 1:
            raise ValueError(f"`devices` must be 1 to write one file, got {trainer.world_size}. Set trainer.devices=1.")
        if self.path.parent.is_dir():
            files.remove_leftovers(self.path.parent, re.escape(self.path.name), running=False)

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Write the file."""
        if len(predictions) != GALLERY_AND_QUERY or not isinstance(predictions[0], list):
            raise ValueError(
                "`predict_dataloader` must return two loaders, [gallery, query], got one or another number of them."
            )
        gallery, query = (concatenate(parts) for parts in predictions)
        EmbeddingSet(gallery["embeddings"], gallery["labels"], query["embeddings"], query["labels"]).save(self.path)
