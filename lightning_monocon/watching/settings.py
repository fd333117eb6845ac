# SPDX-License-Identifier: Apache-2.0
"""Read the settings of a run by which landscapes are compared."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import IterableDataset

from lightning_monocon.watching.files import Settings


def settings_of(trainer: Trainer) -> Settings:
    """Return the settings by which runs are compared, from the first optimizer and the train loader."""
    loader: Any = trainer.train_dataloader
    is_stream = isinstance(loader.dataset, IterableDataset)
    batch = loader.batch_size
    if batch is None:
        batch = 1 if is_stream else len(next(iter(loader.batch_sampler), ()))
    settings: Settings = {"batch_size": batch * trainer.world_size}
    # of a stream each sample is new, so its size is what the run sees of it
    seen = batch * trainer.world_size * trainer.max_steps if trainer.max_steps > 0 else math.nan
    settings["train_size"] = seen if is_stream else len(loader.dataset)
    data: Any = getattr(trainer, "datamodule", None)
    if data is not None:
        classes, tokens = (getattr(data, name, None) for name in ("num_classes", "vocabulary"))
        size = f" of {classes} classes" if classes else f" of {tokens} tokens" if isinstance(tokens, int) else ""
        settings["task"] = f"{type(data).__name__}{size}"
    for optimizer in trainer.optimizers[:1]:
        group = optimizer.param_groups[0]
        settings["optimizer"] = type(optimizer).__name__
        settings |= {name: float(group[name]) for name in ("lr", "weight_decay") if name in group}
    return settings
