# SPDX-License-Identifier: Apache-2.0
r"""Encode float32 rows with levels at the speed of a float32 product, with the bytes of the float64 definition.

The mean is added to the thresholds, so that a coordinate is the product of a unit row and a row w of the matrix. NumPy
computes it in float32, in four pieces of at most :math:`p = \lceil D/4 \rceil` terms. It is compared with a threshold
t, offset included, and off by at most

.. math:: \delta = 2^{-24}\, \bigl((p + 8) \lVert w\rVert + 2 |t|\bigr)

for p roundings in a piece, three in their sum, one each in the length, the quotient and the threshold, and some room
(Higham 2002, section 3.1). Only a number within that of a threshold can get another level, and rows that have such a
number, a few in a hundred, are encoded by the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.checks import finite_rows

_BLOCK = 1024  # rows whose coordinates stay in the cache
_AGAIN = 4096  # rows that the definition encodes at a time
_PIECES = 4
_LONGEST, _SHORTEST = 2.0**40, 2.0**-40  # rows of such lengths become unit rows in float32 without loss
_COMPARED = 3  # bits of a number up to which it is compared with each threshold
_CELLS = 16  # per level, of a table that finds levels of more bits

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


class LevelEncoder:
    """Encode float32 rows on the CPU.

    Args:
        space: Map to coordinates, for ``similarity="cosine"``.
        quantiser: Levels of each number.
    """

    def __init__(self, space: Space, quantiser: LevelQuantiser) -> None:
        self._space, self._quantiser = space, quantiser
        self._matrix = space.matrix.float().numpy()
        piece = -(-self._matrix.shape[1] // _PIECES)
        self._pieces = [slice(cut, cut + piece) for cut in range(0, self._matrix.shape[1], piece)]
        levels, offset = quantiser.levels.double(), space.offset[:, None]
        thresholds = ((levels[:, 1:] + levels[:, :-1]) / 2 + offset).numpy()
        lengths = torch.linalg.vector_norm(space.matrix.double(), dim=1, keepdim=True).numpy()
        margins = 2.0**-24 * ((piece + 8) * lengths + 2 * np.abs(thresholds))
        self._runs = [*_runs(quantiser, thresholds, margins)]

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of rows ``(N, D)``, float32 or narrower.

        Raises:
            ValueError: If a row is not finite.
        """
        codes = torch.empty(len(rows), self._quantiser.bytes, dtype=torch.uint8)
        doubtful = torch.empty(len(rows), dtype=torch.bool)
        for start in range(0, len(rows), _BLOCK):
            own = slice(start, start + _BLOCK)
            unit, unusual = _unit(rows[own])
            codes[own], doubts = self._encoded(unit.numpy())
            doubtful[own] = doubts | unusual
        for again in torch.split(doubtful.nonzero().flatten(), _AGAIN):
            codes[again] = self._quantiser.encode(self._space.coordinates(rows[again]))
        return codes

    def _encoded(self, unit: Floats) -> tuple[Tensor, Tensor]:
        """Return the codes ``(N, bytes)`` of unit rows ``(N, D)``, and which of them are in doubt ``(N,)``."""
        coordinates = np.zeros((self._matrix.shape[0], len(unit)), np.float32)
        for piece in self._pieces:
            coordinates += self._matrix[:, piece] @ unit[:, piece].T
        bits = np.zeros((self._quantiser.bytes, 8, len(unit)), np.uint8)
        doubtful = np.zeros(len(unit), np.bool_)
        for run in self._runs:
            run.write(coordinates, bits.reshape(-1, len(unit)), doubtful)
        codes = bits[:, 0]
        for bit in range(1, 8):
            codes <<= 1
            codes |= bits[:, bit]
        return torch.from_numpy(codes).T, torch.from_numpy(doubtful)


def _unit(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows ``(N, D)`` float32 of unit length, and which are of unusual length and became zeros ``(N,)``."""
    length = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    unit = rows.float() / length.float()[:, None]
    unusual = ~((length >= _SHORTEST) & (length <= _LONGEST))  # NaN among them
    if unusual.any():
        finite_rows(rows[unusual], "error", "rows")
        unit[unusual] = 0.0
    return unit, unusual


class _Place(NamedTuple):
    """Say which consecutive numbers have equally many bits, how many, and where in a code they are."""

    numbers: slice
    bits: int
    stored: slice

    def of(self, coordinates: Floats, bits: Bytes) -> tuple[Floats, Bytes]:
        """Return views of these numbers ``(g, N)`` and of their bits ``(g, bits, N)``."""
        values = coordinates[self.numbers]
        return values, bits[self.stored].reshape(len(values), self.bits, -1)


class _Run(Protocol):
    """Quantise consecutive numbers of equally many bits."""

    @property
    def place(self) -> _Place:
        """Which numbers, and where their bits go."""
        ...

    def write(self, coordinates: Floats, bits: Bytes, doubtful: Bools) -> None:
        """Write the bits of coordinates ``(k, N)`` into those of codes ``(8 * bytes, N)``, and mark doubtful rows."""
        ...


@dataclass(frozen=True)
class _ComparedRun:
    r"""Compare numbers with each threshold.

    Bit i of a level is 1 where a number is above an odd number of the thresholds :math:`2^i, 2 \cdot 2^i, \dots`

    Attributes:
        place: Which numbers.
        low: ``(g, 2 ** bits - 1)``, thresholds less their margins.
        high: The same with their margins added.
    """

    place: _Place
    low: Floats
    high: Floats

    @classmethod
    def of(cls, place: _Place, thresholds: Doubles, margins: Doubles) -> _ComparedRun:
        return cls(place, (thresholds - margins).astype(np.float32), (thresholds + margins).astype(np.float32))

    def write(self, coordinates: Floats, bits: Bytes, doubtful: Bools) -> None:
        values, out = self.place.of(coordinates, bits)
        for threshold, (low, high) in enumerate(zip(self.low.T, self.high.T, strict=True), start=1):
            passed = values > low[:, None]
            doubtful |= (passed != (values > high[:, None])).any(0)
            for bit in range(self.place.bits):
                if threshold % 2**bit == 0:
                    out[:, -1 - bit] ^= passed.view(np.uint8)


@dataclass(frozen=True)
class _FoundRun:
    """Find the level of a number in a table over cells of equal width.

    Attributes:
        place: Which numbers.
        start: ``(g,)``, where the first cell begins.
        scale: ``(g,)``, cells per unit.
        margin: ``(g,)``, how near a threshold a number is in doubt.
        level: ``(g * cells,)``, the level below the threshold of a cell.
        threshold: ``(g * cells,)``, infinite where a cell has none; NaN where it has several, and all is in doubt.
    """

    place: _Place
    start: Floats
    scale: Floats
    margin: Floats
    level: NDArray[np.uint8]
    threshold: Floats

    @classmethod
    def of(cls, place: _Place, thresholds: Doubles, margins: Doubles) -> _FoundRun:
        cells, margin = _CELLS << place.bits, margins.max(1)
        start = (thresholds[:, 0] - margin).astype(np.float32)
        scale = (cells / (thresholds[:, -1] + margin - start)).astype(np.float32)
        width = 1 / scale.astype(np.float64)
        slack = 2.0**-21 * (np.abs(start) + cells * width)  # a number this near to a cell may be taken to lie in it
        level, threshold = np.empty((2, len(start), cells))
        for number, own in enumerate(thresholds):
            lower = start[number] + width[number] * np.arange(cells)
            below = np.searchsorted(own, lower - slack[number])
            inside = np.searchsorted(own, lower + width[number] + slack[number]) - below
            found = own[np.minimum(below, len(own) - 1)]
            level[number], threshold[number] = below, np.select([inside == 0, inside == 1], [np.inf, found], np.nan)
        flat = level.astype(np.uint8).ravel(), threshold.astype(np.float32).ravel()
        return cls(place, start, scale, margin.astype(np.float32), *flat)

    def write(self, coordinates: Floats, bits: Bytes, doubtful: Bools) -> None:
        values, out = self.place.of(coordinates, bits)
        cells = _CELLS << self.place.bits
        cell = ((values - self.start[:, None]) * self.scale[:, None]).clip(0, cells - 1).astype(np.intp)
        cell += cells * np.arange(len(values))[:, None]
        gap = values - self.threshold.take(cell, mode="clip")
        doubtful |= ~(np.abs(gap) > self.margin[:, None]).all(0)
        level = self.level.take(cell, mode="clip") + (gap > 0)
        for bit in range(self.place.bits):
            out[:, -1 - bit] = (level >> bit) & 1


def _runs(quantiser: LevelQuantiser, thresholds: Doubles, margins: Doubles) -> Iterator[_Run]:
    """Yield runs of consecutive numbers with equally many bits, of thresholds and margins ``(k, any)``."""
    for numbers, bits, stored in quantiser.runs:
        if bits:
            kind = _ComparedRun if bits <= _COMPARED else _FoundRun
            tables = (table[numbers, : 2**bits - 1] for table in (thresholds, margins))
            yield kind.of(_Place(numbers, bits, stored), *tables)
