# SPDX-License-Identifier: Apache-2.0
"""Store each number of a vector as the nearest of its own levels, in 0 to 8 bits.

A number below all thresholds gets level 0, and a number on a threshold the level below it. A number of 0 bits has one
level, its mean, and takes no space. The bits of a vector are written one number after another, the most significant
first, and filled up with zeros to whole bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        return -(-int(self.bits.sum()) // 8)

    def encode(self, coordinates: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of coordinates ``(N, k)`` float64."""
        places = []
        for j, bits in enumerate(self.bits.tolist()):
            if bits:
                levels = self.levels[j, : 2**bits].double()
                nearest = torch.bucketize(coordinates[:, j].contiguous(), (levels[1:] + levels[:-1]) / 2)
                places.append(_bits_of(nearest, bits))
        return pack_bits(torch.cat(places, 1))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the coordinates ``(N, k)`` float32 that codes ``(N, bytes)`` uint8 stand for."""
        flat, start = unpack_bits(codes), 0
        columns = []
        for j, bits in enumerate(self.bits.tolist()):
            places = flat[:, start : start + bits].to(torch.int64)
            weights = 2 ** torch.arange(bits - 1, -1, -1)
            columns.append(self.levels[j][(places * weights).sum(1)])
            start += bits
        return torch.stack(columns, 1)

    def description(self) -> Mapping[str, Any]:
        """Return what is not a tensor, as plain values for JSON."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tables, by name."""
        return {"bits": self.bits, "levels": self.levels}


def _bits_of(numbers: Tensor, bits: int) -> Tensor:
    shifts = torch.arange(bits - 1, -1, -1)
    return ((numbers[:, None] >> shifts) & 1).to(torch.uint8)


def pack_bits(bits: Tensor) -> Tensor:
    """Pack ``(N, n)`` zeros and ones into ``(N, ceil(n / 8))`` uint8, the first bit highest, as NumPy does."""
    padded = torch.nn.functional.pad(bits, (0, -bits.shape[1] % 8))
    weights = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
    return (padded.reshape(len(bits), -1, 8) * weights).sum(2, dtype=torch.uint8)


def unpack_bits(codes: Tensor) -> Tensor:
    """Return the bits ``(N, 8 * B)`` uint8 of codes ``(N, B)``, the highest of a byte first."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    return ((codes[:, :, None] >> shifts) & 1).flatten(1)
