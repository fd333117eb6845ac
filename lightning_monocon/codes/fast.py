# SPDX-License-Identifier: Apache-2.0
r"""Encode float32 rows with levels at the speed of a float32 product, with the bytes of the float64 definition.

The mean is added to the thresholds, so that a coordinate is the product of a unit row and a row w of the matrix, which
is computed in float32, at once or in pieces of p terms. It is compared with a threshold t, offset included, and off by
at most

.. math:: \delta = 2^{-24}\, \bigl((p + 8) \lVert w\rVert + 2 |t|\bigr)

for p roundings in a piece, whatever the order of its sum, three in the sum of the pieces, one each in the length, the
quotient and the threshold, and some room (Higham 2002, section 3.1). Only a number within that of a threshold can get
another level; such numbers are computed in float64, whose sums may have another order than those of the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_monocon.codes.checks import check_finite
from lightning_monocon.codes.levels import LevelQuantiser
from lightning_monocon.codes.space import Space
from lightning_monocon.functional.products import inner_products

_BLOCK = 1024  # rows whose coordinates stay in the cache
_PIECES = 4  # of a product whose numbers are found among many levels, near one of which they often are
_LONGEST, _SHORTEST = 2.0**40, 2.0**-40  # rows of such lengths become unit rows in float32 without loss
_COMPARED = 3  # bits of a number up to which it is compared with each threshold
_CELLS = 16  # per level, of a table that finds levels of more bits
_DOUBTED = 1 / 64  # share of numbers in doubt beyond which float64 is sooner, as where levels are very near

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Places = NDArray[np.intp]


class LevelEncoder:
    """Encode float32 rows on the CPU.

    Args:
        space: Map to coordinates, for ``similarity="cosine"``.
        quantiser: Levels of each number.
    """

    def __init__(self, space: Space, quantiser: LevelQuantiser) -> None:
        self._space, self._quantiser, self._bytes = space, quantiser, quantiser.bytes
        self._matrix = space.matrix.double()
        width = self._matrix.shape[1]
        piece = -(-width // _PIECES) if int(quantiser.bits.max()) > _COMPARED else width
        self._pieces = torch.split(space.matrix.float(), piece, 1)
        levels, offset = quantiser.levels.double(), space.offset[:, None]
        self._thresholds = (levels[:, 1:] + levels[:, :-1]) / 2
        thresholds = (self._thresholds + offset).numpy()
        lengths = torch.linalg.vector_norm(self._matrix, dim=1, keepdim=True).numpy()
        margins = 2.0**-24 * ((piece + 8) * lengths + 2 * np.abs(thresholds))
        self._runs = [*_runs(quantiser, thresholds, margins)]
        self._counts = quantiser.bits.numpy()
        self._last = self._counts.cumsum() - 1
        self._thresholds[torch.arange(self._thresholds.shape[1]) >= 2 ** quantiser.bits[:, None] - 1] = torch.inf

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` uint8 of rows ``(N, D)``, float32 or narrower.

        Raises:
            ValueError: If a row is not finite.
        """
        codes = torch.empty(len(rows), self._bytes, dtype=torch.uint8)
        for start in range(0, len(rows), _BLOCK):
            block, out = rows[start : start + _BLOCK], codes[start : start + _BLOCK]
            lengths = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
            unusual = (~((lengths >= _SHORTEST) & (lengths <= _LONGEST))).nonzero().flatten()  # NaN among them
            if len(unusual):
                check_finite(rows, "rows")
                lengths[unusual] = torch.inf
            out.copy_(self._encoded(block, lengths))
            if len(unusual):
                out[unusual] = self._quantiser.encode(self._space.coordinates(block[unusual]))
        return codes

    def _encoded(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Return the codes ``(N, bytes)`` of rows ``(N, D)`` of some lengths ``(N,)`` float64."""
        pieces = torch.split(rows.float() / lengths.float()[:, None], self._pieces[0].shape[1], 1)
        coordinates = inner_products(self._pieces[0], pieces[0])
        for matrix, unit in zip(self._pieces[1:], pieces[1:], strict=True):
            coordinates += inner_products(matrix, unit)
        bits = np.zeros((self._bytes, 8, len(rows)), np.uint8)
        flat = bits.reshape(-1, len(rows))
        doubts = np.concatenate([run.write(coordinates.numpy(), flat) for run in self._runs])
        if len(doubts) > _DOUBTED * coordinates.numel():
            return self._quantiser.encode(self._space.coordinates(rows))
        self._decide(rows, lengths, doubts, flat)
        codes = bits[:, 0]
        for bit in range(1, 8):
            codes <<= 1
            codes |= bits[:, bit]
        return torch.from_numpy(codes).T

    def _decide(self, rows: Tensor, lengths: Tensor, doubts: Places, bits: Bytes) -> None:
        """Write the bits of doubtful numbers, by their places ``(P,)`` in coordinates ``(k, N)``, by float64."""
        numbers, columns = np.divmod(doubts, len(rows))
        own, chosen = torch.from_numpy(numbers), torch.from_numpy(columns)
        unit = rows[chosen].double() / lengths[chosen, None]
        exact = torch.linalg.vecdot(unit, self._matrix[own]) - self._space.offset[own]
        levels = (self._thresholds[own] < exact[:, None]).sum(1).numpy()
        for bit in range(int(self._counts.max())):
            has = self._counts[numbers] > bit
            bits[self._last[numbers[has]] - bit, columns[has]] = (levels[has] >> bit) & 1


class _Place(NamedTuple):
    """Say which consecutive numbers have equally many bits, how many, and where in a code they are."""

    numbers: slice
    bits: int
    stored: slice

    def of(self, coordinates: Floats, bits: Bytes) -> tuple[Floats, Bytes]:
        """Return views of these numbers ``(g, N)`` and of their bits ``(g, bits, N)``."""
        values = coordinates[self.numbers]
        return values, bits[self.stored].reshape(len(values), self.bits, -1)

    def found(self, doubtful: Bools) -> Places:
        """Return the places in coordinates ``(k, N)`` of doubtful ones of these numbers, ``(g, N)``."""
        places: Places = np.flatnonzero(doubtful)
        places += self.numbers.start * doubtful.shape[1]
        return places


class _Run(Protocol):
    """Quantise consecutive numbers of equally many bits."""

    def write(self, coordinates: Floats, bits: Bytes) -> Places:
        """Write the bits of coordinates ``(k, N)`` into those of codes ``(8 * bytes, N)``.

        Returns:
            Places ``(P,)`` in the coordinates of those that are in doubt.
        """
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

    def write(self, coordinates: Floats, bits: Bytes) -> Places:
        values, out = self.place.of(coordinates, bits)
        doubtful = np.zeros(values.shape, np.bool_)
        for threshold, (low, high) in enumerate(zip(self.low.T, self.high.T, strict=True), start=1):
            passed = values > low[:, None]
            doubtful |= passed != (values > high[:, None])
            for bit in range(self.place.bits):
                if threshold % 2**bit == 0:
                    out[:, -1 - bit] ^= passed.view(np.uint8)
        return self.place.found(doubtful)


@dataclass(frozen=True)
class _FoundRun:
    """Find the level of a number in a table over cells of equal width.

    Attributes:
        place: Which numbers.
        start: ``(g,)``, where the first cell begins.
        scale: ``(g,)``, cells per unit.
        margin: ``(g,)``, how near a threshold a number is in doubt.
        level: ``(g * cells,)``, the level below the threshold of a cell.
        threshold: ``(g * cells,)``, infinite where none is near a cell; NaN where several are, and all is in doubt.
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
        # a number this near to a cell may be taken to lie in it, or is off by the margin
        slack = 2.0**-21 * (np.abs(start) + cells * width) + margin
        level, threshold = np.empty((2, len(start), cells))
        for number, own in enumerate(thresholds):
            lower = start[number] + width[number] * np.arange(cells)
            below = np.searchsorted(own, lower - slack[number])
            inside = np.searchsorted(own, lower + width[number] + slack[number]) - below
            found = own[np.minimum(below, len(own) - 1)]
            level[number], threshold[number] = below, np.select([inside == 0, inside == 1], [np.inf, found], np.nan)
        flat = level.astype(np.uint8).ravel(), threshold.astype(np.float32).ravel()
        return cls(place, start, scale, margin.astype(np.float32), *flat)

    def write(self, coordinates: Floats, bits: Bytes) -> Places:
        values, out = self.place.of(coordinates, bits)
        cells = _CELLS << self.place.bits
        cell = ((values - self.start[:, None]) * self.scale[:, None]).clip(0, cells - 1).astype(np.intp)
        cell += cells * np.arange(len(values))[:, None]
        gap = values - self.threshold.take(cell, mode="clip")
        level = self.level.take(cell, mode="clip") + (gap > 0)
        for bit in range(self.place.bits):
            out[:, -1 - bit] = (level >> bit) & 1
        return self.place.found(~(np.abs(gap) > self.margin[:, None]))


def _runs(quantiser: LevelQuantiser, thresholds: Doubles, margins: Doubles) -> Iterator[_Run]:
    """Yield runs of consecutive numbers with equally many bits, of thresholds and margins ``(k, any)``."""
    for numbers, bits, stored in quantiser.runs:
        if bits:
            kind = _ComparedRun if bits <= _COMPARED else _FoundRun
            tables = (table[numbers, : 2**bits - 1] for table in (thresholds, margins))
            yield kind.of(_Place(numbers, bits, stored), *tables)
