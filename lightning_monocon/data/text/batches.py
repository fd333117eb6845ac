# SPDX-License-Identifier: Apache-2.0
"""Draw, label and tokenize batches of sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lightning_monocon.data.keyed_random import key
from lightning_monocon.data.sampling import EpochSampler
from lightning_monocon.data.text.identity import pair_labels, sentence_ids
from lightning_monocon.data.text.pair_files import SentencePair
from lightning_monocon.encoders.text.tokenizer import Tokenizer, check_fit, load_tokenizer

Texts: TypeAlias = tuple[list[str], list[int]]
"""Sentences and their labels."""

TokenBatch: TypeAlias = tuple[dict[str, Tensor], Tensor]
"""``input_ids``, ``attention_mask``, ... ``(B, T)`` and labels ``(B,)``."""


class Pairs(Protocol):
    """Describe pairs that `PairSampler` draws."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        ...

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one label for each of these pairs, ``(B,)``; pairs that belong together share it."""
        ...


class PairSet(Dataset[Texts]):
    """Serve pairs of sentences; a batch of ``B`` pairs is the ``B`` first sentences and then the ``B`` second ones.

    An item is ``(label, index)``, as `PairSampler` yields it; both sentences get the label.
    """

    def __init__(self, pairs: SentencePair) -> None:
        self.pairs = pairs
        self.numbers = sentence_ids([*pairs.first, *pairs.second]).reshape(2, -1)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, item: tuple[int, int]) -> Texts:
        """Return the two sentences of one pair."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> Texts:
        """Return a batch; PyTorch's fetcher calls this once per batch."""
        labels = [label for label, _ in items]
        sides = ([side[index] for _, index in items] for side in self.pairs)
        return [text for side in sides for text in side], labels * 2

    def labels(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one label for each of these pairs, ``(B,)``, by the sentences that they share."""
        return pair_labels(*self.numbers[:, indices])


class SentenceSet(Dataset[Texts]):
    """Serve single sentences ``texts`` with their ``labels`` ``(N,)``."""

    def __init__(self, texts: Sequence[str], labels: NDArray[np.int64]) -> None:
        self.texts, self.labels = list(texts), labels
        self.label_kinds: NDArray[np.str_] | None = None
        """Kind of each label, ``"right"`` or ``"wrong"``, which `SemanticLandscape` reads; None if not known."""

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.texts)

    def __getitem__(self, item: int) -> Texts:
        """Return one sentence."""
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int]) -> Texts:
        """Return a batch; PyTorch's fetcher calls this once per batch."""
        return [self.texts[item] for item in items], self.labels[list(items)].tolist()

    def by_length(self) -> SentenceSet:
        """Return the same sentences, the shortest first, so that a batch needs little padding."""
        order = sorted(range(len(self)), key=lambda i: len(self.texts[i]))
        return SentenceSet([self.texts[i] for i in order], self.labels[order])


class PairSampler(EpochSampler):
    """Shuffle pairs as a function of (seed, epoch) and label them by all pairs of the step.

    The pairs of a step, on all ranks together, share a label if what they share connects them, such as sentences. So
    each rank knows the pairs of the others without communication, and a caption that two ranks repeat is not a false
    negative. It yields ``(label, index)``.

    Args:
        data: The pairs.
        batch_size: Pairs per step and rank.
        seed: Seed of the order.

    Raises:
        ValueError: If there are fewer pairs than ranks.
    """

    def __init__(self, data: Pairs, batch_size: int, seed: int) -> None:
        super().__init__(len(data), seed)
        self.pairs, self.batch_size = data, batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield ``(label, index)`` for this rank's share of the epoch."""
        first, self.first, self._armed = self.first, 0, False
        order = torch.randperm(self.size, generator=torch.Generator().manual_seed(key(self.seed, self.epoch))).numpy()
        order = order[: len(self) * self.num_replicas]
        step = self.batch_size * self.num_replicas
        for start in range(first * self.num_replicas, len(order), step):
            indices = order[start : start + step]
            labels = self.pairs.labels(indices)
            yield from zip(
                labels[self.rank :: self.num_replicas].tolist(),
                indices[self.rank :: self.num_replicas].tolist(),
                strict=True,
            )


class Tokenized:
    """Collate sentences and labels into the inputs of an encoder, padded to the longest sentence of the batch.

    Args:
        tokenizer: Tokenizer of the encoder's model.
        max_length: Most tokens of a sentence; longer ones are cut.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    @classmethod
    def by(cls, name: str, max_length: int, encoder: object) -> Tokenized:
        """Load a tokenizer by name, and check that the encoder can read what it writes.

        Raises:
            ValueError: If it knows tokens that the encoder has no embedding for, or texts may be too long.
        """
        tokenizer = load_tokenizer(name)
        check_fit(tokenizer, name, max_length, encoder)
        return cls(tokenizer, max_length)

    def __call__(self, batch: Texts) -> TokenBatch:
        """Return ``(inputs, labels)``."""
        texts, labels = batch
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        return dict(inputs), torch.tensor(labels, dtype=torch.int64)
