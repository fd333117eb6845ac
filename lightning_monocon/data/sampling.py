# SPDX-License-Identifier: Apache-2.0
"""Draw samples in an order that is a function of (seed, epoch), for each rank its share.

The samplers derive from `torch.utils.data.DistributedSampler`, so Lightning does not wrap or replace them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DistributedSampler

from lightning_monocon.data.keyed_random import key
from lightning_monocon.distributed import world


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffle as a function of (seed, epoch) and yield ``(epoch, index)`` keys.

    Every rank draws the same permutation and takes its own share; the tail that does not divide by the world size is
    left out, so that all ranks make the same number of steps. The epoch is part of the key because workers may prefetch
    before `set_epoch` is called.

    Args:
        size: Number of samples in the data set.
        seed: Seed of the order.

    Raises:
        ValueError: If there are fewer samples than ranks.
    """

    def __init__(self, size: int, seed: int) -> None:
        rank, ranks = world()
        if size < ranks:
            raise ValueError(
                f"`size` must be at least one sample per rank ({ranks}), got {size}. "
                "Use fewer devices or a larger data set."
            )
        super().__init__(range(size), num_replicas=ranks, rank=rank, seed=seed, drop_last=True)  # type: ignore[arg-type]  # any sized object will do
        self.size = size
        self.first = 0
        self._armed = False

    def __len__(self) -> int:
        """Return the number of samples of this rank."""
        return self.size // self.num_replicas

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, unless `resume` already has."""
        if not self._armed:
            self.epoch = epoch

    def resume(self, epoch: int, first: int) -> None:
        """Start the next iteration in ``epoch``, at this rank's sample ``first``."""
        self.epoch, self.first, self._armed = epoch, first, True

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield ``(epoch, index)`` for this rank's share of the epoch."""
        first, self.first, self._armed = self.first, 0, False
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(key(self.seed, self.epoch)))
        share = order[self.rank : len(self) * self.num_replicas : self.num_replicas]
        return iter([(self.epoch, index) for index in share[first:].tolist()])


class ShardSampler(DistributedSampler[int]):
    """Give every rank its share of the data set, in order, each sample exactly once.

    Unlike PyTorch's own sampler it never pads: a row that counts twice would be its own nearest neighbour.

    Args:
        size: Number of samples in the data set.
    """

    def __init__(self, size: int) -> None:
        rank, ranks = world()
        super().__init__(range(size), num_replicas=ranks, rank=rank, shuffle=False)  # type: ignore[arg-type]  # any sized object will do
        self.size = size

    def __len__(self) -> int:
        """Return the number of samples of this rank."""
        return len(range(self.rank, self.size, self.num_replicas))

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices in ascending order."""
        return iter(range(self.rank, self.size, self.num_replicas))
