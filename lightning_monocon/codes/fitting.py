# SPDX-License-Identifier: Apache-2.0
"""Collect what a code is fitted on: moments of all rows and a sample of them, in one pass over blocks of any size.

The sample holds the rows whose numbers have the smallest keyed hashes, so it depends on the seed and on the order of
the rows, but not on how they are cut into blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.functional.checks import as_float32, check_choice, check_embeddings, finite_rows
from lightning_monocon.functional.moments import ROUNDING, Moments, MomentStream
from lightning_monocon.functional.spectrum import PrincipalComponents, components_from_moments
from lightning_monocon.functional.unit_rows import float32_directions, unit_rows_

Similarity = Literal["cosine", "dot"]
"""What ranks whole vectors: their cosine, or their inner product."""

SAMPLE_ROWS = 65_536
"""Rows of the sample at most: 256 for each of the 256 centroids that one byte can name."""


@dataclass(frozen=True, eq=False)
class FittingRows:
    """Hold what a code is fitted on.

    Attributes:
        statistics: Moments of all rows, ``(D,)`` and ``(D, D)`` float64.
        sample: ``(n, D)`` float32, rows in the order of their numbers.
        similarity: ``"cosine"`` if rows were scaled to unit length first (a row of zeros stays zero), else ``"dot"``.
        seed: Decides the sample and every random choice of a fit.
    """

    statistics: Moments
    sample: Tensor = field(repr=False)
    similarity: Similarity = "cosine"
    seed: int = 0

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.statistics.rows)

    @property
    def dim(self) -> int:
        """Numbers of a row."""
        return len(self.statistics.mean)

    @cached_property
    def components(self) -> PrincipalComponents:
        """Principal components of all rows; codes of every size share them."""
        return components_from_moments(self.statistics)

    @classmethod
    def of(
        cls, rows: Tensor, similarity: Similarity = "cosine", seed: int = 0, sample_rows: int = SAMPLE_ROWS
    ) -> FittingRows:
        """Collect from rows ``(N, D)`` in memory.

        Raises:
            TypeError: If ``rows`` is not a floating-point tensor.
            ValueError: If its shape is wrong, a row is not finite, or ``similarity`` is unknown.
        """
        check_embeddings(rows, "rows")
        stream = FittingStream(rows.shape[1], similarity, seed, sample_rows)
        stream.add(rows)
        return stream.result()


class FittingStream:
    """Collect `FittingRows` from blocks: the same numbers, bit by bit, however the rows are cut.

    Args:
        dim: Numbers of a row.
        similarity: ``"cosine"`` or ``"dot"``.
        seed: Decides the sample.
        sample_rows: Rows of the sample at most.
    """

    def __init__(
        self, dim: int, similarity: Similarity = "cosine", seed: int = 0, sample_rows: int = SAMPLE_ROWS
    ) -> None:
        check_choice("similarity", similarity, get_args(Similarity))
        self._similarity: Similarity = similarity
        self._seed, self._limit = seed, sample_rows
        self._moments = MomentStream(dim, normalize=similarity == "cosine")
        self._seen = 0
        self._keys = np.empty(0, np.uint64)
        self._sample = torch.empty(0, dim)

    def add(self, rows: Tensor) -> None:
        """Add a block of finite rows ``(B, D)``, floating-point.

        Raises:
            ValueError: If a row is not finite, its width is another one, or float32 does not reach where lengths
                matter.
        """
        rows = check_embeddings(rows, "rows", self._sample.shape[1])
        finite_rows(rows, "error", "rows")
        rows = rows.float() if rows.dtype != torch.float64 else rows
        self._moments.add(rows)
        keys = _keys(self._seed, self._seen, len(rows))
        self._seen += len(rows)

        # rows that cannot enter a full sample are not copied; those that do are copies, which may be scaled in place
        entering = np.flatnonzero(keys < self._keys.max()) if len(self._keys) == self._limit else np.arange(len(rows))
        taken = rows[torch.from_numpy(entering)]
        taken = unit_rows_(float32_directions(taken)) if self._similarity == "cosine" else as_float32(taken, "rows")
        self._keys = np.concatenate([self._keys, keys[entering]])
        self._sample = torch.cat([self._sample, taken])
        if len(self._keys) > self._limit:
            kept = np.sort(np.argpartition(self._keys, self._limit)[: self._limit])
            self._keys, self._sample = self._keys[kept], self._sample[torch.from_numpy(kept)]

    def result(self) -> FittingRows:
        """Return what was collected so far."""
        return FittingRows(self._moments.result(), self._sample, self._similarity, self._seed)


def check_size(size: int) -> None:
    """Raise TypeError unless a code has a whole number of bytes, and ValueError unless it has one at least."""
    try:
        index(size)
    except TypeError as error:
        raise TypeError(f"`size` must be a whole number of bytes; got {size!r}: round it.") from error
    if size < 1:
        raise ValueError(f"`size` must be at least 1 byte; got {size}.")


def check_varying(rows: FittingRows) -> None:
    """Raise ValueError unless two rows differ by more than the rounding of their mean."""
    count, mean, comoment = rows.statistics
    if comoment.trace() <= count * mean.square().sum() * ROUNDING**2:
        raise ValueError(
            f"`rows` must hold two different rows to fit a code on; got {rows.count} equal rows. Add rows."
        )


def _keys(seed: int, first: int, count: int) -> np.ndarray:
    """Return a hash of each row's number: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    golden = 0x9E37_79B9_7F4A_7C15
    start = np.uint64((seed + 1) * 0x2545_F491_4F6C_DD1D % 2**64)
    z = start + (np.arange(first, first + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(golden)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
