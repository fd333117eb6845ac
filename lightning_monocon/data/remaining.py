# SPDX-License-Identifier: Apache-2.0
"""Shorten a loader by its first rows, which are done."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, Sampler, SequentialSampler

from lightning_monocon.data.sampling import ShardSampler


class RemainingSampler(DistributedSampler[Any]):
    """Leave out the first samples of another sampler.

    It derives from `DistributedSampler`, so that Lightning does not replace it; the other one knows rank and ranks.

    Args:
        sampler: Sampler with the same order each time.
        done: Number of samples of this rank that are left out.
    """

    def __init__(self, sampler: ShardSampler | DistributedSampler[Any], done: int) -> None:
        super().__init__(sampler.dataset, num_replicas=sampler.num_replicas, rank=sampler.rank, shuffle=False)
        self.sampler, self.done = sampler, done

    def __len__(self) -> int:
        """Return the number of samples that remain for this rank."""
        return max(len(self.sampler) - self.done, 0)

    def __iter__(self) -> Iterator[Any]:
        """Yield the remaining samples."""
        return iter(list(self.sampler)[self.done :])


def remaining(loader: DataLoader[Any], done: int) -> DataLoader[Any]:
    """Return a loader over this rank's rows behind the first ``done``; raise ValueError if it has no fixed order."""
    if type(loader.batch_sampler) is not BatchSampler:
        raise ValueError(
            "`predict_dataloader` must make its batches with PyTorch's own `BatchSampler`; got "
            f"{type(loader.batch_sampler).__name__}. Give the loader `batch_size` instead."
        )
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        sampler=RemainingSampler(_in_order(loader.sampler, loader.dataset), done),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )


def _in_order(sampler: Sampler[Any] | object, dataset: object) -> ShardSampler | DistributedSampler[Any]:
    # PyTorch's own sampler repeats samples at the end, which would be rows twice in the corpus
    if isinstance(sampler, SequentialSampler) or (type(sampler) is DistributedSampler and not sampler.shuffle):
        return ShardSampler(len(cast("Sized", dataset)))
    if isinstance(sampler, DistributedSampler) and not sampler.shuffle:
        return sampler
    raise ValueError(
        f"`predict_dataloader` must keep the order of the data set, so that a killed run can be resumed; got "
        f"{type(sampler).__name__}. Leave out `shuffle` and `sampler`."
    )
