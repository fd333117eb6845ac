# SPDX-License-Identifier: Apache-2.0
"""Draw batches with the same number of samples of every class in them, as a function of (seed, epoch).

Classes are dealt like cards, and within each class its samples: a deck is shuffled, dealt from the top, shuffled again
when it runs out, and no hand holds a card twice. Therefore at any moment of an epoch two classes, and two samples of a
class, have been dealt equally often to within one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DistributedSampler, Sampler

from lightning_monocon.data.keyed_random import key
from lightning_monocon.distributed import world

_REPEAT = 1 << 32
"""Added to the epoch in a key for each time that the sample has been dealt before in the epoch."""


def deal(cards: int, hand: int, hands: int, generator: torch.Generator) -> Tensor:
    """Return hands dealt from a deck that is shuffled again whenever it runs out, ``(hands, hand)``.

    No hand holds a card twice, and any two cards have been dealt equally often to within one at any moment. The deck
    has at least ``hand`` cards.
    """
    rest = torch.empty(0, dtype=torch.int64)
    dealt, count = [rest.view(0, hand)], 0
    while count < hands:
        deck = torch.randperm(cards, generator=generator)
        if len(rest):  # the hand that begins with these takes none of them again: they go to the back
            held = torch.zeros(cards, dtype=torch.bool)
            held[rest] = True
            held = held[deck]
            deck = torch.cat([rest, deck[~held], deck[held]])
        whole = len(deck) // hand
        dealt.append(deck[: whole * hand].view(whole, hand))
        rest, count = deck[whole * hand :], count + whole
    return torch.cat(dealt)[:hands]


class BalancedSampler(DistributedSampler[tuple[int, int]]):
    """Yield the keys of `ClassBalancedBatchSampler` one at a time: ``batch_size`` in a row are a batch.

    It derives from PyTorch's `DistributedSampler`, so a trainer leaves it alone:
    ``DataLoader(dataset, sampler=batches.sampler, batch_size=batches.batch_size, drop_last=True)``.
    """

    def __init__(self, labels: NDArray[np.int64], batch_size: int, per_class: int, seed: int) -> None:
        self.batch_size, self.per_class = batch_size, per_class
        rank, ranks = world()
        names, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
        _check_sizes(len(labels), len(names), batch_size, per_class, ranks)
        _check_classes(names, counts, per_class)
        self._members = torch.from_numpy(owner).argsort(stable=True).tensor_split(counts.cumsum()[:-1].tolist())
        super().__init__(range(len(labels)), num_replicas=ranks, rank=rank, seed=seed, drop_last=True)  # type: ignore[arg-type]  # any sized object will do
        self.batches = len(labels) // (batch_size * ranks)
        """Batches of an epoch on this rank."""
        self._first = 0
        self._armed = False

    def __len__(self) -> int:
        """Return the number of samples that this rank sees in an epoch."""
        return self.batches * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, unless `resume` already has."""
        if not self._armed:
            self.epoch = epoch

    def resume(self, epoch: int, batch: int) -> None:
        """Start the next iteration in ``epoch``, at this rank's batch ``batch``."""
        self.epoch, self._first, self._armed = epoch, batch, True

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield ``(epoch, index)`` for this rank's share of the epoch."""
        first, self._first, self._armed = self._first, 0, False
        epochs, indices = self._epoch()
        mine = slice(self.rank, None, self.num_replicas)
        shape = (self.batches, self.batch_size)
        epochs, indices = (part.view(-1, self.batch_size)[mine].reshape(shape)[first:] for part in (epochs, indices))
        return iter(list(zip(epochs.flatten().tolist(), indices.flatten().tolist(), strict=True)))

    def _epoch(self) -> tuple[Tensor, Tensor]:
        """Return epoch and sample of each key, in the order of the global batches; the same on every rank."""
        groups = self.batch_size // self.per_class
        # the ranks' batches of one step are one contrast set: they share no class if there are enough classes
        together = groups * self.num_replicas
        hand = together if together <= len(self._members) else groups
        visits = self.batches * together
        generator = torch.Generator().manual_seed(key(self.seed, self.epoch))

        classes = deal(len(self._members), hand, -(-visits // hand), generator).flatten()[:visits]
        indices = torch.empty(visits, self.per_class, dtype=torch.int64)
        epochs = torch.empty_like(indices)

        order = classes.argsort(stable=True)
        bounds = torch.bincount(classes, minlength=len(self._members)).cumsum(0)[:-1]
        for members, rows in zip(self._members, order.tensor_split(bounds.tolist()), strict=True):
            hands = deal(len(members), self.per_class, len(rows), generator)
            indices[rows] = members[hands]
            # a second visit in the epoch is a new draw of the augmentation
            epochs[rows] = self.epoch + torch.arange(hands.numel()).view_as(hands) // len(members) * _REPEAT
        return epochs, indices


class ClassBalancedBatchSampler(Sampler[list[tuple[int, int]]]):
    """Yield batches of ``batch_size / per_class`` distinct classes with ``per_class`` distinct samples each.

    The order is a function of (seed, epoch) and the ranks' batches of one step are parts of one global batch. An epoch
    has as many batches as the data fill; every class occurs equally often to within one visit, so with uneven classes
    the samples of a rare class repeat (each under a key of its own, so that it is augmented again) and those of a
    common class are not all seen. It yields lists of ``(epoch, index)`` keys, as `EpochSampler` yields keys.

    Under several ranks Lightning replaces samplers that it does not know. Either build the loader as
    ``DataLoader(dataset, sampler=batches.sampler, batch_size=batches.batch_size, drop_last=True)``, which needs no
    setting, or pass ``batch_sampler=batches`` and set ``Trainer(use_distributed_sampler=False)``; without the setting
    the second way is refused.

    Args:
        labels: Class of each sample, ``(N,)``.
        batch_size: Samples per batch and rank.
        per_class: Samples of each class in a batch.
        seed: Seed of the order.
        drop_last: PyTorch's argument, which must be True: there is no short batch.

    Raises:
        ValueError: If the sizes do not fit each other or the data, or a class has too few samples.
        RuntimeError: If a trainer tries to replace the sampler.
    """

    def __init__(
        self,
        labels: NDArray[np.int64] | Tensor | Sequence[int] | Sampler[int],
        batch_size: int,
        per_class: int = 4,
        seed: int = 0,
        *,
        drop_last: bool = True,
    ) -> None:
        if isinstance(labels, Sampler):  # this is how Lightning rebuilds a batch sampler
            raise RuntimeError(
                "The trainer would replace the order of `ClassBalancedBatchSampler` by its own, and batches would "
                "no longer be balanced. Build the loader with `DataLoader(dataset, sampler=batches.sampler, "
                "batch_size=batches.batch_size, drop_last=True)`, or set Trainer(use_distributed_sampler=False)."
            )
        if not drop_last:
            raise ValueError("`drop_last` must be True: a short batch would not be balanced.")
        self.sampler = BalancedSampler(np.asarray(labels, dtype=np.int64), batch_size, per_class, seed)
        """The same keys one at a time; Lightning sets the epoch here."""
        self.batch_size, self.per_class, self.drop_last = batch_size, per_class, drop_last

    def __len__(self) -> int:
        """Return the number of batches of an epoch on this rank."""
        return self.sampler.batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, unless `resume` already has."""
        self.sampler.set_epoch(epoch)

    def resume(self, epoch: int, batch: int) -> None:
        """Start the next iteration in ``epoch``, at this rank's batch ``batch``."""
        self.sampler.resume(epoch, batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield this rank's batches of ``(epoch, index)`` keys."""
        keys = list(self.sampler)
        return iter([keys[start : start + self.batch_size] for start in range(0, len(keys), self.batch_size)])


def _check_sizes(samples: int, classes: int, batch_size: int, per_class: int, ranks: int) -> None:
    if per_class < 2 or batch_size < per_class or batch_size % per_class:
        raise ValueError(
            f"`batch_size` must be a multiple of `per_class`, and that at least 2 to hold a positive pair; got "
            f"{batch_size} and {per_class}. Take batch_size = classes in a batch x per_class."
        )
    if batch_size // per_class > classes:
        raise ValueError(
            f"`batch_size` / `per_class` = {batch_size // per_class} classes in a batch must not exceed the {classes} "
            "classes there are. Lower batch_size, or raise per_class."
        )
    if samples < batch_size * ranks:
        raise ValueError(
            f"`batch_size` times the {ranks} rank(s) must not exceed the {samples} samples, got {batch_size}. Lower it."
        )


def _check_classes(names: NDArray[np.int64], counts: NDArray[np.int64], per_class: int) -> None:
    small = counts < per_class
    if small.any():
        shown = ", ".join(f"{name} ({count})" for name, count in zip(names[small][:5], counts[small][:5], strict=True))
        lower = "" if counts.min() < 2 else f", or lower per_class to {counts.min()}"
        raise ValueError(
            f"`labels` must hold at least `per_class` = {per_class} samples of every class; {small.sum()} class(es) "
            f"hold fewer: {shown}{', ...' if small.sum() > 5 else ''}, as class (samples). Leave such classes out of "
            f"the train split, or add samples to them{lower}."
        )
