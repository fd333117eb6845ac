# SPDX-License-Identifier: Apache-2.0
"""Load addition modulo p, all p^2 pairs: a task that networks first memorise and learn much later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

Batch: TypeAlias = tuple[Tensor, ...]


class RowsDataset(TensorDataset):
    """Hold tensors, and read a batch of them at once rather than item by item.

    A loader of it takes `as_it_is` as its ``collate_fn``.

    Example:
        >>> rows = RowsDataset(torch.arange(6), torch.tensor([0, 1, 0, 1, 0, 1]))
        >>> next(iter(DataLoader(rows, batch_size=3, collate_fn=as_it_is)))
        (tensor([0, 1, 2]), tensor([0, 1, 0]))
    """

    def __getitems__(self, positions: Sequence[int] | Tensor) -> Batch:
        """Return the items at some positions, collated."""
        chosen = torch.as_tensor(positions)
        return tuple(tensor[chosen] for tensor in self.tensors)


def as_it_is(batch: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return a batch that is collated already."""
    return batch


class ModularAddition(LightningDataModule):
    """Load pairs ``(a, b)`` of residues, labelled ``(a + b) mod p``; every step takes the whole train set.

    Full batches are deterministic, so a run is a function of the seed of its weights.

    Args:
        modulus: Number of residues p.
        train_share: Share of the p^2 pairs to train on. At p = 59, 0.5 groks and 0.12 never does.
        steps: Steps in an epoch, each on the whole train set.
        split_seed: Seed of the split.

    Raises:
        ValueError: If the share leaves one of the two sets empty.
    """

    def __init__(
        self, modulus: int = 59, train_share: float = 0.35, *, steps: int = 25, split_seed: int = 1000
    ) -> None:
        super().__init__()
        if modulus < 2 or not 1 <= int(train_share * modulus**2) < modulus**2:
            raise ValueError(
                f"`train_share` must leave pairs to train and to validate on, got {train_share} of {modulus}^2 pairs."
            )
        self.num_classes, self.train_share, self.steps, self.split_seed = modulus, train_share, steps, split_seed

    def setup(self, stage: str) -> None:
        """Build the table of sums and split it; the same for every stage."""
        residues = torch.arange(self.num_classes)
        pairs = torch.cartesian_prod(residues, residues)
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(self.split_seed))
        parts = order.tensor_split([int(self.train_share * len(pairs))])
        sums = pairs.sum(dim=1) % self.num_classes
        self.train, self.val = (RowsDataset(pairs[part], sums[part]) for part in parts)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the whole train set as one batch, ``steps`` times."""
        # a list of as many numbers costs a tenth of the step
        batches = cast("list[list[int]]", [torch.arange(len(self.train))] * self.steps)
        return DataLoader(self.train, batch_sampler=batches, collate_fn=as_it_is)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return gallery (the train pairs) and query (the others)."""
        return [DataLoader(part, batch_size=4096, collate_fn=as_it_is) for part in (self.train, self.val)]
