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
_HALF = 32  # bits of a key that hold a place; the others hold its score
_LAST = np.int64(2**63 - 1)
_LONGEST = 8  # times as long as lists may be on average


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
        queries: How many, at most 65 536.
        tiling: How the gallery is dealt to tiles.
    """

    def __init__(self, queries: int, tiling: Tiling) -> None:
        self._queries, self._tiling, self._size = queries, tiling, 0
        self._parts: list[tuple[NDArray[np.uint16], NDArray[np.int32], Scores]] = []

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
        place = (where - number * width) * self._tiling.tiles + tile
        self._parts.append((number.astype(np.uint16), place.astype(np.int32), excess))  # half of the memory
        if self.crowded:
            self._parts.clear()

    def lists(self, first: Integers | None = None) -> Lists | None:
        """Return what was collected, for each query in descending order; None if one list is far too long.

        Args:
            first: ``(Q,)`` for each query the place from which equal scores are ordered, and on from 0 after the last;
                without it their order is any.
        """
        number, place, excess = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        counts = np.bincount(number, minlength=self._queries)
        if counts.max() > _LONGEST * self._tiling.most:
            return None
        low = place if first is None else (place - first[number]) % self._tiling.rows
        bits = excess if excess.dtype == np.int32 else (excess + np.float32(0)).view(np.int32)
        keys = -bits.astype(np.int64) << _HALF | low
        # each query's keys in a row of a table: rows of some hundred are sorted several times as fast as all at once
        order = np.argsort(number, kind="stable")
        table = np.full((self._queries, max(1, int(counts.max()))), _LAST)
        column = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
        table[number[order], column] = keys[order]
        table.sort(axis=1)
        return self._unpacked(counts, table, excess.dtype, first)

    def _unpacked(
        self, counts: Integers, table: Integers, dtype: np.dtype[np.float32 | np.int32], first: Integers | None
    ) -> Lists:
        """Return the lists of which sorted keys are the scores above the places."""
        missing = np.arange(table.shape[1]) >= counts[:, None]
        table[missing] = 0
        bits = (-(table >> _HALF)).astype(np.int32)
        place = table & _LAST >> _HALF
        place = place if first is None else (place + first[:, None]) % self._tiling.rows
        score: Scores = bits if dtype == np.int32 else bits.view(np.float32)
        score[missing] = np.iinfo(np.int32).min if dtype == np.int32 else -np.inf
        return Lists(counts, score, place)


class Lists(NamedTuple):
    """Hold a list of scores for each query, in a table as wide as the longest of them.

    Attributes:
        counts: ``(Q,)`` how many are in each.
        score: ``(Q, W)``, descending; the least number there is, or minus infinity, after the last.
        place: ``(Q, W)`` places in the gallery.
    """

    counts: Integers
    score: Scores
    place: Integers
