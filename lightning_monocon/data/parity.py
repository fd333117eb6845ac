# SPDX-License-Identifier: Apache-2.0
"""Load sparse parities: strings of random bits, of which a few decide the label and the others say nothing."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_monocon.data.modular import Batch, RowsDataset, as_it_is


class SparseParity(LightningDataModule):
    """Load strings of bits ``(bits,)`` of -1 and 1, labelled by the parity of a few of them.

    The bits that matter come first, which a network of full connections cannot see. With several parities, each of
    other bits, the label is the number that they spell in base two, and is known only where all of them are. The
    strings of the train set come again in every epoch, in a new order, so they can be memorised.

    Args:
        bits: Number of bits n of a string.
        relevant: Number of bits k of a parity.
        parities: Number of parities m; there are 2^m classes.
        train_size: Strings to train on.
        val_size: Strings for validation.
        batch_size: Strings in a step.
        split_seed: Seed of the strings; that of the run decides on their order.

    Raises:
        ValueError: If a size is not positive, the parities need more bits than there are, or a batch is larger than the
            train set.
    """

    monitor = None
    """No metric of embeddings finds the best checkpoint."""

    def __init__(
        self,
        bits: int = 40,
        relevant: int = 3,
        parities: int = 1,
        *,
        train_size: int = 1000,
        val_size: int = 1000,
        batch_size: int = 64,
        split_seed: int = 1000,
    ) -> None:
        super().__init__()
        sizes = {"relevant": relevant, "parities": parities, "val_size": val_size, "batch_size": batch_size}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"`{name}` must be positive, got {size}.")
        if relevant * parities > bits:
            raise ValueError(
                f"`bits` must be at least relevant x parities = {relevant * parities}, as no bit is in two parities; "
                f"got {bits}. Take more bits, or fewer parities."
            )
        if batch_size > train_size:
            raise ValueError(
                f"`train_size` must be at least one batch of {batch_size}, got {train_size}. Lower `batch_size`."
            )
        self.bits, self.relevant, self.parities, self.num_classes = bits, relevant, parities, 2**parities
        self.train_size, self.val_size = train_size, val_size
        self.batch_size, self.split_seed = batch_size, split_seed

    def setup(self, stage: str) -> None:
        """Draw the strings; the same for every stage, and those for validation the same for every ``train_size``."""
        generator = torch.Generator().manual_seed(self.split_seed)
        self.val = self._draw(self.val_size, generator)
        self.train = self._draw(self.train_size, generator)

    def _draw(self, count: int, generator: torch.Generator) -> RowsDataset:
        signs = 2.0 * torch.randint(2, (count, self.bits), generator=generator) - 1.0
        return RowsDataset(signs, self.labels(signs))

    def labels(self, signs: Tensor) -> Tensor:
        """Return the labels ``(N,)`` of strings ``(N, bits)``; digit j in base two is 1 where parity j is even.

        Example:
            >>> SparseParity(bits=4, relevant=2, parities=2).labels(torch.tensor([[-1, -1, 1, -1], [1, 1, 1, 1]]))
            tensor([1, 3])
        """
        relevant = signs[:, : self.parities * self.relevant].reshape(-1, self.parities, self.relevant)
        labels: Tensor = ((relevant.prod(dim=2) > 0) * 2 ** torch.arange(self.parities)).sum(dim=1)
        return labels

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches; the last rows of an order, too few for a batch, are left out."""
        return DataLoader(self.train, self.batch_size, shuffle=True, drop_last=True, collate_fn=as_it_is)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return gallery (the train strings) and query (the others)."""
        return [DataLoader(part, batch_size=4096, collate_fn=as_it_is) for part in (self.train, self.val)]
