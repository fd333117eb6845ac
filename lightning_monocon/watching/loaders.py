# SPDX-License-Identifier: Apache-2.0
"""Find the loaders of a run from whose data sets a probe is drawn."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader

from lightning_monocon.inference.rank_rows import loaders_of


def probe_loaders(trainer: Trainer, module: LightningModule) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the train loader of a run and its last validation loader.

    Raises:
        ValueError: If the run has none, or another kind of loader.
    """
    train, val = trainer.train_dataloader, _held_out(trainer, module)
    if not isinstance(train, DataLoader) or not isinstance(val, DataLoader):
        found = ["no validation loader" if each is None else type(each).__name__ for each in (train, val)]
        raise ValueError(
            "The landscape must have a train and a validation DataLoader to draw its probe from; got "
            f"{' and '.join(found)}. Pass held-out data with `trainer.fit(..., val_dataloaders=...)`, or by "
            "`val_dataloader` of the data module."
        )
    return train, val


def _held_out(trainer: Trainer, module: LightningModule) -> object:
    """Return the last validation loader; it is made again if validation is switched off for the time being."""
    loaders = trainer.val_dataloaders
    if not loaders_of(loaders):  # the loader of a stream has no truth value
        source: Any = getattr(trainer, "datamodule", None) or module
        loaders = source.val_dataloader() if is_overridden("val_dataloader", source) else None
    listed = loaders_of(loaders)
    return listed[-1] if listed else None
