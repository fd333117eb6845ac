# SPDX-License-Identifier: Apache-2.0
"""Provide the base of data modules: the seed of the order, the place to resume at, gallery and query loaders."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Generic, TypeVar, cast

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_monocon.data.keyed_random import run_seed
from lightning_monocon.data.sampling import ShardSampler

Part = TypeVar("Part", bound=Sized)


class KeyedData(LightningDataModule):
    """Load data in an order that is a function of (seed, epoch), so that a run can resume within an epoch.

    Args:
        seed: Seed of order and augmentation; ``None`` takes that of `seed_everything`, or 0 without one.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self._seed = seed
        self._resume = (0, 0)

    @property
    def seed(self) -> int:
        """Return the seed of order and augmentation."""
        return run_seed(self._seed)

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next train loader start at batch ``batch`` of ``epoch`` (called by `ExactResume`)."""
        self._resume = (epoch, batch)

    def _start(self) -> tuple[int, int]:
        """Return epoch and batch at which the next train loader starts; the one after it starts at the beginning."""
        start, self._resume = self._resume, (0, 0)
        return start


class SplitData(KeyedData, Generic[Part]):
    """Load the labelled parts ``train``, ``val`` and ``test``.

    Validation, test and prediction loaders come in pairs: the gallery (train samples, not augmented) and the query.
    """

    train: Part
    val: Part
    test: Part
    batch_size: int
    num_workers: int

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return gallery and validation query."""
        return [self._loader(part, ShardSampler(len(part))) for part in (self.train, self.val)]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return gallery and test query."""
        return [self._loader(part, ShardSampler(len(part))) for part in (self.train, self.test)]

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """Return gallery and test query."""
        return self.test_dataloader()

    def _loader(self, part: Part, sampler: Sampler[Any], *, train: bool = False) -> DataLoader[Any]:
        return DataLoader(
            cast("Dataset[Any]", part),
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=train,
            num_workers=self.num_workers,
            **{"collate_fn": _as_is, **self._loader_options(train)},
        )

    def _loader_options(self, train: bool) -> dict[str, Any]:
        """Return further arguments of the loaders; a subclass may have some."""
        return {}


def _as_is(batch: object) -> object:
    """Return a batch as it is, since the parts return whole batches; a named function can be pickled."""
    return batch
