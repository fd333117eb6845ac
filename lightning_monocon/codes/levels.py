# SPDX-License-Identifier: Apache-2.0
"""Store each number of a vector as the nearest of its own levels, in 0 to 8 bits.

A number below all thresholds gets level 0, and a number on a threshold the level below it. A number of 0 bits has one
level, its mean, and takes no space. The bits of a vector are written one number after another, the most significant
first, and filled up with zeros to whole bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LevelQuantiser:
    """Hold the levels of each number.

    Attributes:
        bits: ``(k,)`` int64, from 0 to 8.
        levels: ``(k, 2 ** bits.max())`` float32, ascending in each row; of row j the first ``2 ** bits[j]`` count.
    """

    kind: ClassVar[str] = "levels"
    bits: Tensor
    levels: Tensor = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of one code."""
        return -(-sum(bits for _, bits, _ in self._layout) // 8)

    @cached_property
    def _groups(self) -> list[tuple[Tensor, Tensor]]:
        """Numbers of equal bits ``(g,)`` and their thresholds ``(g, 2 ** bits - 1)`` float64."""
        groups = []
        for bits in sorted(set(self.bits.tolist())):
            if bits:
                columns = (self.bits == bits).nonzero()[:, 0]
                levels = self.levels[columns, : 2**bits].double()
                groups.append((columns, (levels[:, 1:] + levels[:, :-1]) / 2))
        return groups

    @cached_property
    def _layout(self) -> list[tuple[int, int, int]]:
        """Number, bits and first bit in the code of each number that takes space."""
        first = (self.bits.cumsum(0) - self.bits).tolist()
        return [(j, bits, first[j]) for j, bits in enumerate(self.bits.tolist()) if bits]

    @cached_property
    def runs(self) -> list[tuple[slice, int, slice]]:
        """Consecutive numbers of equally many bits, how many, and where their bits are in a code."""
        found, first = [], 0
        for own, members in groupby(range(len(self.bits)), self.bits.tolist().__getitem__):
            numbers = [*members]
            last = first + own * len(numbers)
            found.append((slice(numbers[0], numbers[-1] + 1), own, slice(first, last)))
            first = last
        return found

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)`` float64."""
        columns = coordinates.T.contiguous()
        places = torch.zeros(columns.shape, dtype=torch.uint8, device=columns.device)
        for chosen, thresholds in self._groups:
            places[chosen] = torch.searchsorted(thresholds, columns[chosen], out_int32=True).to(torch.uint8)
        return self.pack(places)

    def pack(self, places: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of levels ``(k, N)`` uint8."""
        codes = torch.zeros(self.bytes, places.shape[1], dtype=torch.uint8, device=places.device)
        for j, bits, first in self._layout:
            byte, spare = first // 8, 8 - first % 8 - bits
            if spare >= 0:
                codes[byte] |= places[j] << spare
            else:
                codes[byte] |= places[j] >> -spare
                codes[byte + 1] |= places[j] << 8 + spare
        return codes.T.contiguous()

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 that codes ``(N, bytes)`` uint8 stand for."""
        levels = self.levels.to(codes.device)
        first = torch.arange(len(levels), dtype=torch.int32, device=codes.device) * levels.shape[1]
        bits = ((codes[:, :, None] >> torch.arange(7, -1, -1, dtype=torch.uint8, device=codes.device)) & 1).flatten(1)
        places = first.repeat(len(codes), 1)
        for numbers, own, stored in self.runs:
            given = bits[:, stored].reshape(len(codes), numbers.stop - numbers.start, own)
            for bit in range(own):
                places[:, numbers].add_(given[:, :, bit], alpha=2 ** (own - 1 - bit))
        return levels.flatten().index_select(0, places.flatten()).view(places.shape)

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        return {"bits": self.bits, "levels": self.levels}
