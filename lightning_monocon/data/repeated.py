# SPDX-License-Identifier: Apache-2.0
"""Load random sequences that repeat a block of tokens: what follows can be known only by looking back."""

from __future__ import annotations

from typing import TypeAlias

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

Batch: TypeAlias = tuple[Tensor, ...]


class RepeatedBlocks(LightningDataModule):
    """Load sequences ``(tokens, labels)``, each ``(T,)``: a random block of tokens, repeated to the end.

    The label of a position is the token of the next one. Within the first block it cannot be known; afterwards it is
    what has followed the same token before. Every step has new sequences, so nothing can be memorised.

    Args:
        vocabulary: Number of tokens V.
        context: Length T of a sequence.
        shortest: Fewest tokens of a block.
        longest: Most tokens of a block.
        batch_size: Sequences in a step.
        steps: Steps in an epoch.
        val_size: Sequences for validation.
        seed: Seed of the sequences.

    Raises:
        ValueError: If a size is not positive, or the longest block does not leave room for its repetition.
    """

    monitor = None
    """No metric of embeddings finds the best checkpoint."""

    def __init__(
        self,
        vocabulary: int = 256,
        context: int = 128,
        shortest: int = 16,
        longest: int = 64,
        *,
        batch_size: int = 16,
        steps: int = 2000,
        val_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(vocabulary, batch_size, steps, val_size) < 1 or not 1 <= shortest <= longest < context:
            raise ValueError(
                "`vocabulary`, `batch_size`, `steps` and `val_size` must be positive, and the blocks must satisfy "
                f"1 <= shortest <= longest < context; got {vocabulary}, {batch_size}, {steps}, {val_size}, and "
                f"{shortest}, {longest}, {context}."
            )
        self.vocabulary, self.context, self.block = vocabulary, context, (shortest, longest)
        self.batch_size, self.steps, self.val_size, self.seed = batch_size, steps, val_size, seed

    def setup(self, stage: str) -> None:
        """Draw the sequences; the same for every stage."""
        generator = torch.Generator().manual_seed(self.seed)
        self.train = self._draw(self.steps * self.batch_size, generator)
        self.val = self._draw(self.val_size, generator)

    def _draw(self, count: int, generator: torch.Generator) -> TensorDataset:
        shortest, longest = self.block
        lengths = torch.randint(shortest, longest + 1, (count, 1), generator=generator)
        blocks = torch.randint(self.vocabulary, (count, longest), generator=generator)
        sequences = blocks.gather(1, torch.arange(self.context + 1) % lengths)
        return TensorDataset(sequences[:, :-1], sequences[:, 1:])

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the train sequences, each once."""
        return DataLoader(self.train, batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the sequences for validation."""
        return DataLoader(self.val, batch_size=self.batch_size)
