# SPDX-License-Identifier: Apache-2.0
"""Find the rows that several ranks, or one rank twice, would count more than once.

PyTorch's `DistributedSampler`, which Lightning gives to ordinary loaders, repeats samples until all ranks have equally
many; a loader without it gives every sample to every rank. A figure over all ranks must count each sample once.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Hashable, Mapping, Sequence, Sized
from itertools import chain, islice
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_monocon.distributed import world
from lightning_monocon.inference.random_states import kept_random_states
from lightning_monocon.runs.digest import hash_tensors
from lightning_monocon.training.batches import tensors_in

Keys: TypeAlias = list[list[Hashable]]
"""Keys that are requested from the data set, batch by batch."""

Value = TypeVar("Value")


def over_ranks(value: Value) -> list[Value]:
    """Return the value of each rank, in the order of the ranks; every rank must call it."""
    _, ranks = world()
    if ranks == 1:
        return [value]
    values: list[Any] = [None] * ranks
    dist.all_gather_object(values, value)
    return values


def loaders_of(loaders: object) -> list[object]:
    """Return the loaders of a stage as a list, whether the trainer was given one, a list or a mapping of them.

    Example:
        >>> loaders_of({"a": "first", "b": ["second", "third"]})
        ['first', 'second', 'third']
    """
    if loaders is None:
        return []
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        return [loader for part in loaders for loader in loaders_of(part)]
    return [loaders]


def samples_of(loader: object) -> int | None:
    """Return how many samples the data set of a loader has; None if it has no places, as an iterable one."""
    data: object = getattr(loader, "dataset", None)
    return len(data) if isinstance(data, Sized) and not isinstance(data, IterableDataset) else None


class Share:
    """Know the rows that this rank gets from one loader.

    Args:
        keys: Keys that the loader requests from the data set; None if they are unknown.
        repeated: For each key, whether the sample is counted elsewhere.
        rank: This rank.
        ranks: Number of ranks.
    """

    def __init__(
        self, keys: Keys | None = None, repeated: Sequence[Sequence[bool]] = (), rank: int = 0, ranks: int = 1
    ) -> None:
        self._keys, self._repeated, self._rank, self._ranks = keys, repeated, rank, ranks
        self._seen = 0
        self.opening: str | None = None
        """Digest of the first batch, if only that shows whether the ranks read the same data."""

    def look_at(self, batch: object, index: int) -> None:
        """Record a batch before it is judged."""
        if self._keys is None and self._ranks > 1 and index == 0:
            tensors = {str(place): tensor for place, tensor in enumerate(tensors_in(batch)) if tensor.numel()}
            self.opening = hash_tensors(tensors) if tensors else None

    def fresh(self, index: int, rows: int) -> Tensor | None:
        """Return the mask ``(rows,)`` of the rows of a batch that are not counted elsewhere; None if all are.

        Raises:
            ValueError: If some samples of the batch are repeated, and it is unknown which rows belong to them.
        """
        repeated = self._repeated[index] if self._keys is not None and self._repeated else ()
        if not any(repeated):
            return None
        if all(repeated):
            return torch.zeros(rows, dtype=torch.bool)
        if len(repeated) != rows:
            raise ValueError(
                f"A batch must have one row for each of its {len(repeated)} samples, so that those which another rank "
                f"has too can be left out; got {rows} rows. Use one device, or a sampler that repeats nothing."
            )
        return ~torch.tensor(repeated)

    def numbers(self, index: int, rows: int) -> Tensor:
        """Return a number ``(rows,)`` for each row of a batch, if possible the index of its sample in the data set."""
        start, self._seen = self._seen, self._seen + rows
        if self._keys is None:
            return (start + torch.arange(rows)) * self._ranks + self._rank
        keys = self._keys[index]
        if len(keys) != rows:
            return torch.arange(rows) + _number(keys[0])
        return torch.tensor([_number(key) for key in keys], dtype=torch.int64)


def shares(loaders: Sequence[object], *, numbered: bool = False, placed: bool = False) -> list[Share]:
    """Return this rank's share of each loader; every rank must call it.

    Args:
        loaders: Loaders of this rank.
        numbered: Whether the numbers of the rows are needed; otherwise a single process does not read the samplers.
        placed: Whether these numbers must be the places of the samples in the data set.

    Raises:
        ValueError: On every rank, if there are several or the places are needed, and the order of a loader is unknown
            on one of them.
    """
    rank, ranks = world()
    if ranks == 1 and not (numbered or placed):
        return [Share() for _ in loaders]
    listed = [_listed(loader) for loader in loaders]
    if ranks == 1 and not placed:
        return [Share(found if isinstance(found, list) else None) for found in listed]
    every = over_ranks(listed)
    faults = [found for one in every for found in one if isinstance(found, str)]
    if faults:
        raise ValueError(faults[0])
    known = [[found if isinstance(found, list) else None for found in one] for one in every]
    return [_share([one[place] for one in known], rank) for place in range(len(loaders))]


def check_apart(parts: Sequence[Share]) -> None:
    """Check loaders without a sampler: no two ranks may have read the same data. Every rank must call it.

    Raises:
        ValueError: On every rank, if the first batches of two ranks are equal.
    """
    for openings in zip(*over_ranks([part.opening for part in parts]), strict=True):
        known = [opening for opening in openings if opening is not None]
        if len(set(known)) < len(known):
            raise ValueError(
                "`dataloaders` must give each rank its own rows, so that none is counted twice; two ranks of "
                f"{len(openings)} have read the same first batch. Let the iterable data set read the share of "
                "`torch.distributed.get_rank()`, or use a data set with a length."
            )


def _listed(loader: object) -> Keys | str | None:
    """Return the keys that a loader requests, None if it has no sampler, or a sentence if they cannot be found out.

    The sampler is listed twice: if both lists agree, its order is a function of its state, and so is the order of the
    loader.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    source: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    source = getattr(source, "_batch_sampler", source)  # Lightning's wrapper at prediction
    try:
        with kept_random_states():
            # the data set itself is not copied, and a sampler that never ends is listed to its length
            source = copy.deepcopy(source, {id(loader.dataset): loader.dataset})
            first, again = ([_plain(key) for key in islice(source, len(loader))] for _ in range(2))
    except Exception as error:
        return _sentence(loader, f"it can't be copied and listed: {type(error).__name__}: {error}")
    if first != again:
        return _sentence(loader, "it gives another order each time")
    return [list(key) if loader.batch_sampler is not None else [key] for key in first]


def _sentence(loader: DataLoader[Any], reason: str) -> str:
    kind = type(loader.sampler if type(loader.batch_sampler).__module__.startswith("torch.") else loader.batch_sampler)
    return (
        "`dataloaders` must have samplers whose order is known to every rank, so that no row is counted twice or taken "
        f"for another; got {kind.__name__}: {reason}. Leave out `shuffle`, let a DistributedSampler shuffle, or use "
        "one device."
    )


def _plain(key: Any) -> Any:  # noqa: ANN401  # a sampler may yield anything
    """Return a key that equals itself in another process: numbers as Python's own, sequences as tuples."""
    if isinstance(key, Tensor | np.ndarray | np.generic):
        key = key.tolist()
    return tuple(_plain(part) for part in key) if isinstance(key, list | tuple) else key


def _number(key: Hashable) -> int:
    last = key[-1] if isinstance(key, tuple) and key else key  # the samplers of this package yield (epoch, index)
    return last if isinstance(last, int) else zlib.crc32(repr(last).encode())


def _share(every: Sequence[Keys | None], rank: int) -> Share:
    """Return the share of a rank: of equal samples the first one counts, at equal places that of the lowest rank."""
    mine, ranks = every[rank], len(every)
    if mine is None:
        return Share(None, (), rank, ranks)
    owner: dict[Hashable, tuple[int, int]] = {}
    for one, keys in enumerate(every):
        for place, key in enumerate(chain.from_iterable(keys or ())):
            owner[key] = min(owner.get(key, (place, one)), (place, one))
    places = iter(range(sum(map(len, mine))))
    repeated = [[owner[key] != (next(places), rank) for key in batch] for batch in mine]
    return Share(mine, repeated, rank, ranks)
