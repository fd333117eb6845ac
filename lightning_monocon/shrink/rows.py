# SPDX-License-Identifier: Apache-2.0
"""Hold a gallery: a tensor if it is small, else files that are read block by block and never held as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from lightning_monocon.functional.moments import Moments, MomentStream
from lightning_monocon.functional.row_keys import direction_keys
from lightning_monocon.functional.truncation_curve import tie_keys
from lightning_monocon.scorecard.row_files.source import BLOCK, RowSource, blocks_of, whole_of

HELD_NUMBERS = 1 << 26
"""Numbers of a gallery up to which it is held in memory: 256 MB of float32."""


class StoredRows:
    """Read the rows of files in blocks; what it offers beside that is what a tensor ``(N, D)`` does.

    Args:
        source: The files.
        kept: ``(M,)`` bool, which of their rows are meant; None for all.
    """

    def __init__(self, source: RowSource, kept: Tensor | None = None) -> None:
        self.source, self.kept = source, kept

    def __len__(self) -> int:
        return self.source.length if self.kept is None else int(self.kept.sum())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and numbers of a row."""
        return len(self), self.source.width

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return rows ``(n, D)`` by their numbers ``(n,)``, in one pass."""
        numbers, order = rows.sort()
        found = torch.empty(len(rows), self.source.width, dtype=self.source.dtype)
        start = first = 0
        for block in self.blocks():
            last = int(torch.searchsorted(numbers, start + len(block)))
            found[order[first:last]] = block[numbers[first:last] - start]
            start, first = start + len(block), last
        return found

    def blocks(self) -> Iterator[Tensor]:
        """Yield all rows ``(B, D)``."""
        start = 0
        for block in blocks_of(self.source):
            yield block if self.kept is None else block[self.kept[start : start + len(block)]]
            start += len(block)


Rows: TypeAlias = "Tensor | StoredRows"
"""Rows ``(N, D)`` in memory or in files; both have a length, a shape, and rows by number."""


def rows_of(source: RowSource, kept: Tensor | None = None) -> Rows:
    """Return the rows of a source, or those that are ``kept`` ``(M,)`` bool; in memory if all of them are few."""
    if source.length * source.width > HELD_NUMBERS:
        return StoredRows(source, kept)
    rows = whole_of(source)
    return rows if kept is None else rows[kept]


def blocks(rows: Rows) -> Iterator[Tensor]:
    """Yield rows in blocks ``(B, D)`` of at most `BLOCK`, in their order."""
    return iter(torch.split(rows, BLOCK)) if isinstance(rows, Tensor) else rows.blocks()


class Survey(NamedTuple):
    """Hold what one pass over a gallery shows.

    Attributes:
        ties: ``(N,)`` keys that order equally near rows.
        directions: ``(N,)`` keys of the rows' directions.
        moments: Of the unit rows.
        digest: Of all numbers, in hexadecimal digits.
    """

    ties: Tensor
    directions: Tensor
    moments: Moments
    digest: str


def survey(rows: Rows) -> Survey:
    """Return the keys, the moments and the digest of a gallery."""
    # made before the first block, as in `lightning_monocon.scorecard.row_files.passes.survey`
    ties, directions = torch.empty(2, len(rows), dtype=torch.int64)
    moments, start = MomentStream(rows.shape[1]), 0
    digest = hashlib.sha256(str(tuple(rows.shape)).encode())
    for block in blocks(rows):
        own = slice(start, start + len(block))
        ties[own], directions[own] = tie_keys(block), direction_keys(block)
        moments.add(block)
        digest.update(block.contiguous().numpy().data)
        start = own.stop
    return Survey(ties, directions, moments.result(), digest.hexdigest())
