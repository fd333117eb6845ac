# SPDX-License-Identifier: Apache-2.0
"""Find which rows of a gallery reach a threshold, tile by tile, so that hardly any score has to be sorted.

A sample of the gallery gives each query a threshold that some hundred rows can be expected to reach. A tile of scores
is then read once, to be compared, and only what reaches the threshold is kept. Tiles are small enough to stay in the
cache of a processor, and are strided through the gallery, so that each of them is a sample of it, however it is sorted.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs
from torch import Tensor

from lightning_monocon.functional.products import product

Floats: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float32] | NDArray[np.int32]
Integers: TypeAlias = NDArray[np.int64]
_Kind = TypeVar("_Kind", np.float32, np.int32)

ROWS, QUERIES = 2048, 256
"""Rows of the gallery and queries of a tile; its scores take 2 MB."""

_SAMPLED = 4096
"""Rows of a gallery that give the threshold."""

_SURPLUS = 2.2
"""How many times as many rows are expected to reach the threshold as are needed. A sample errs: with a tenth of a
surplus many queries would be left with too few, and each row beyond costs its sorting."""

_CROWDED = 16
"""The same beyond which so many rows are equally near that they are not kept."""

_FEWEST = 10
"""Rows of the sample that shall reach the threshold: of fewer, how many of the gallery do is left to chance."""

(_gemm,) = get_blas_funcs(("gemm",), dtype=np.float32)  # NumPy's cannot add to what is there

_BLOCK = 16  # scores of which only the largest counts for the threshold
_SUMMED = 24  # columns from which a product and its addition are faster than a product that adds
_WORD = 8  # marks that are looked at together
_LARGEST = np.int64(2**31 - 1)


class Tiling(NamedTuple):
    """Say how places of a gallery are dealt to tiles: tile j holds the places j, j + tiles, j + 2 tiles, ...

    Attributes:
        rows: Rows of the gallery.
        tiles: Number of tiles.
        sampled: Tiles of the sample.
        wanted: Rows that each query needs.
    """

    rows: int
    tiles: int
    sampled: int
    wanted: int

    @classmethod
    def of(cls, rows: int, wanted: int) -> Tiling:
        """Return the tiling of a gallery in which each query looks for ``wanted`` rows."""
        tiles = max(1, -(-rows // ROWS))
        least = max(_SAMPLED, int(_FEWEST * rows / (_SURPLUS * wanted)))
        return cls(rows, tiles, min(tiles, -(-least // ROWS)), wanted)

    def places(self, tile: int) -> slice:
        """Return the places of a tile."""
        return slice(tile, None, self.tiles)

    @property
    def most(self) -> int:
        """Rows that may reach the threshold of a query, on average, before they are given up."""
        return max(_CROWDED * self.wanted, ROWS)

    def threshold(self, blocks: NDArray[_Kind]) -> NDArray[_Kind] | None:
        """Return the threshold ``(Q,)`` from the largest scores of blocks of the sample ``(Q, B)``; None for none."""
        share = self.sampled / self.tiles
        rank = round(_SURPLUS * self.wanted * share) if self.sampled < self.tiles else self.wanted
        if rank >= blocks.shape[1]:
            return None
        found: NDArray[_Kind] = np.partition(blocks, -rank, axis=1)[:, -rank]
        return found


def largest_of_blocks(score: Tensor) -> Tensor:
    """Return the largest score of each block of some columns of ``(Q, W)``, which is ``(Q, about W / 16)``."""
    blocks = score.shape[1] // _BLOCK
    even = score[:, : blocks * _BLOCK].view(len(score), _BLOCK, blocks).amax(1)  # columns that lie ``blocks`` apart
    rest = score[:, blocks * _BLOCK :]
    return even if not rest.shape[1] else torch.cat([even, rest], 1)


def add_product(score: Floats, rows: Floats, columns: Floats, spare: Tensor) -> None:
    """Add the product of ``rows`` ``(Q, K)`` and ``columns`` ``(K, W)`` to scores ``(Q, W)``; all are contiguous.

    Args:
        score: What is added to.
        rows: The left factor.
        columns: The right factor.
        spare: ``(Q, W)``, overwritten.
    """
    if rows.shape[1] < _SUMMED:
        _gemm(1.0, columns.T, rows.T, beta=1.0, c=score.T, overwrite_c=1)
    else:
        torch.from_numpy(score).add_(product(torch.from_numpy(rows), torch.from_numpy(columns), spare))


class Marks:
    """Find the places of a tile whose scores reach thresholds; memory for the comparison is kept between tiles."""

    def __init__(self) -> None:
        self._bits = np.zeros(0, np.bool_)

    def reached(self, score: Scores, least: Scores | np.float32) -> Integers:
        """Return where scores ``(Q, W)`` are at least ``least``, ``(Q, 1)`` or one number, in the flat tile."""
        words = -(-score.size // _WORD)
        if len(self._bits) != words * _WORD:
            self._bits = np.zeros(words * _WORD, np.bool_)
        np.greater_equal(score, least, out=self._bits[: score.size].reshape(score.shape))
        grouped = self._bits.view(np.uint64)
        some = np.flatnonzero(grouped != 0)
        inside = np.flatnonzero(grouped[some].view(np.bool_))
        found: Integers = some[inside >> 3] * _WORD + (inside & (_WORD - 1))
        return found


class Reached:
    """Collect the scores of some queries that reach their thresholds.

    Args:
        queries: How many.
        tiling: How the gallery is dealt to tiles.
    """

    def __init__(self, queries: int, tiling: Tiling) -> None:
        self._queries, self._tiling, self._size = queries, tiling, 0
        self._parts: list[tuple[Integers, Integers, Scores]] = []

    @property
    def crowded(self) -> bool:
        """Whether so much has come that it was given up."""
        return self._size > self._queries * self._tiling.most

    def add(self, tile: int, where: Integers, excess: Scores, width: int) -> None:
        """Add what a tile has.

        Args:
            tile: Number of the tile.
            where: ``(S,)`` places in the flat tile.
            excess: ``(S,)`` by how much each reaches its threshold.
            width: Rows of the tile.
        """
        self._size += len(where)
        number = where // width
        self._parts.append((number, (where - number * width) * self._tiling.tiles + tile, excess))
        if self.crowded:
            self._parts.clear()

    def lists(self) -> Lists:
        """Return what was collected, for each query in descending order."""
        number, place, excess = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        rank = _LARGEST - (excess if excess.dtype == np.int32 else (excess + np.float32(0)).view(np.int32))
        order = np.argsort(number << 32 | rank)
        counts = np.bincount(number, minlength=self._queries)
        return Lists(counts, number[order], place[order], excess[order])


class Lists(NamedTuple):
    """Hold a list of scores for each query, one list after the other.

    Attributes:
        counts: ``(Q,)`` how many are in each.
        number: ``(S,)`` whose they are, ascending.
        place: ``(S,)`` places in the gallery.
        score: ``(S,)``, descending within a query.
    """

    counts: Integers
    number: Integers
    place: Integers
    score: Scores

    def table(self, width: int, empty: float) -> tuple[Scores, Integers]:
        """Return the first scores of each query and their places ``(Q, width)``; missing ones are ``empty``."""
        column = np.arange(width)
        where = (self.counts.cumsum() - self.counts)[:, None] + column
        missing = column >= self.counts[:, None]
        where[missing] = 0
        score = self.score[where]
        score[missing] = empty
        return score, self.place[where]
