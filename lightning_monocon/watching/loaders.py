# SPDX-License-Identifier: Apache-2.0
"""Find the loaders of a run from whose data sets a probe is drawn, and read their labels and streams."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.inference.rank_rows import loaders_of
from lightning_monocon.training.batches import LABEL_NAMES, described


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


class NamedLabels:
    """Collate items as a loader does, and put the entry of a batch that holds the labels under ``labels``.

    Args:
        collate: The collate function of the loader.
        entry: Name of the entry.
    """

    def __init__(self, collate: Callable[[Any], Any], entry: str) -> None:
        self.collate, self.entry = collate, entry

    def __call__(self, items: object) -> dict[Any, Any]:
        """Return the batch of some items; raise ValueError if it has no such entry."""
        batch = self.collate(items)
        if not isinstance(batch, Mapping) or self.entry not in batch:
            raise ValueError(
                f"`labels` must be an entry of the batch; got {self.entry!r}, and the batch is {described(batch)}. "
                "Pass the name of the entry that holds them, or let the data set return a mapping."
            )
        rest = {name: part for name, part in batch.items() if name not in (*LABEL_NAMES, self.entry)}
        return {**rest, "labels": batch[self.entry]}


def with_labels(loader: DataLoader[Any], entry: str | None) -> DataLoader[Any]:
    """Return a loader whose batches have the labels of an entry under ``labels``; None leaves them as they are."""
    if entry is None:
        return loader
    named = copy.copy(loader)
    named.collate_fn = NamedLabels(loader.collate_fn, entry)
    return named


def listed(loader: DataLoader[Any], count: int) -> DataLoader[Any]:
    """Return a loader of the first ``count`` items of a stream, read from a copy of it; any other loader as it is.

    Raises:
        ValueError: If the stream cannot be copied, or yields whole batches.
    """
    stream = loader.dataset
    if not isinstance(stream, IterableDataset):
        return loader
    if loader.batch_size is None:
        raise ValueError(
            f"`probe` must be drawn from single items, if each input has one label; the stream {type(stream).__name__} "
            "yields whole batches (batch_size=None). Let it yield items, and the loader make the batches."
        )
    items = list(islice(iter(copied(stream)), count))
    return DataLoader(items, batch_size=loader.batch_size, collate_fn=loader.collate_fn)  # type: ignore[arg-type]  # a list is a data set


def copied(stream: IterableDataset[Any]) -> IterableDataset[Any]:
    """Return a copy of a stream; raise ValueError if it cannot be copied."""
    try:
        return copy.deepcopy(stream)
    except Exception as error:
        raise ValueError(
            f"`train` and `val` must be loaders whose data sets can be copied, so that the probe takes nothing from a "
            f"stream; copying {type(stream).__name__} raised {type(error).__name__}: {error}. Make what it reads in "
            "`__iter__` and keep no generator in it."
        ) from error
