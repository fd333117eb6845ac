# SPDX-License-Identifier: Apache-2.0
r"""Compute count, mean and co-moment of rows, the statistics behind every spectral metric.

.. math::
    n,\qquad m = \tfrac1n\sum_i x_i,\qquad C = \sum_i (x_i - m)(x_i - m)^\top

Two sets of rows merge by the pairwise rule of Chan, Golub and LeVeque (1979), with :math:`\delta = m_b - m_a`:

.. math::
    n = n_a + n_b,\quad m = m_a + \tfrac{n_b}{n}\delta,\quad C = C_a + C_b + \tfrac{n_a n_b}{n}\delta\delta^\top

Rows are read in tiles, each tile is centred at its own mean before it is multiplied, so a large common offset costs
no digits; everything is float64. Memory is O(D^2 + tile * D) whatever N is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from lightning_monocon.functional.checks import (
    NanStrategy,
    check_choice,
    check_embeddings,
    finite_rows,
    warn_degenerate,
)
from lightning_monocon.functional.unit_rows import unit_rows_

_TILE_ENTRIES = 1 << 20  # 8 MB of float64: long enough for BLAS to run at full speed, short enough to stay small
_MAX_TILE_ROWS = 4096
ROUNDING = 64 * torch.finfo(torch.float64).eps  # relative error below which a spread is rounding, not variance


class Moments(NamedTuple):
    """Hold the sufficient statistics of ``n`` rows of ``D`` features, float64.

    Attributes:
        rows: ``()``, their number.
        mean: ``(D,)``.
        comoment: ``(D, D)``, the centred second moment, not divided by anything.
    """

    rows: Tensor
    mean: Tensor
    comoment: Tensor


def statistics_device(device: torch.device) -> torch.device:
    """Return where float64 statistics of data on ``device`` live: there, or on the CPU where it has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def empty_moments(width: int, device: torch.device | None = None) -> Moments:
    """Return the moments of no rows."""
    zeros = torch.zeros(width + 1, width, dtype=torch.float64, device=device)
    return Moments(zeros.new_zeros(()), zeros[0], zeros[1:])


def merge_moments(first: Moments, second: Moments) -> Moments:
    """Return the moments of both sets of rows together (Chan, Golub and LeVeque 1979, eq. 2.1)."""
    count = first.rows + second.rows
    share = second.rows / count.clamp_min(1.0)
    delta = second.mean - first.mean
    comoment = first.comoment + second.comoment
    # In place on a fresh tensor: one D x D temporary less.
    comoment.addr_(delta * (first.rows * share), delta)
    return Moments(count, first.mean + share * delta, comoment)


def merge_all(parts: Sequence[Moments]) -> Moments:
    """Return the moments of all parts together, merged in order; of one part, itself."""
    return reduce(merge_moments, parts)


def _gram(rows: Tensor) -> Tensor:
    """Return ``rows.T @ rows``; on the CPU through NumPy, which takes BLAS ``syrk``: half the products of ``gemm``."""
    if rows.device.type == "cpu":
        array = rows.numpy()
        with np.errstate(over="ignore", invalid="ignore"):  # `covariance` names an overflow
            return torch.from_numpy(array.T @ array)
    return rows.T @ rows


def _tile_moments(tile: Tensor, normalize: bool) -> Moments:
    # One private float64 copy, changed in place: the tile is the only scratch of size.
    tile = tile.to(statistics_device(tile.device)).to(torch.float64, copy=True)
    if normalize:
        unit_rows_(tile)
    mean = tile.mean(dim=0)
    return Moments(tile.new_tensor(float(len(tile))), mean, _gram(tile.sub_(mean)))


def moments(embeddings: Tensor, normalize: bool = True, nan_strategy: NanStrategy = "error") -> Moments:
    """Return the float64 `Moments` of ``(N, D)`` embeddings.

    Args:
        embeddings: ``(N, D)``, float16, bfloat16, float32 or float64; ``N`` may be 0.
        normalize: Divide every row by its length first; a row of zeros stays zero.
        nan_strategy: What to do about rows with NaN or Inf: ``"error"``, leave them out with a warning (``"warn"``),
            or leave them out (``"ignore"``).

    Raises:
        TypeError: If ``embeddings`` is not a floating-point tensor.
        ValueError: If the shape is wrong, or a row is not finite under ``nan_strategy="error"``.

    Example:
        >>> moments(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), normalize=False).comoment
        tensor([[2., 0.],
                [0., 0.]], dtype=torch.float64)
    """
    rows = check_embeddings(embeddings)
    check_choice("nan_strategy", nan_strategy, get_args(NanStrategy))
    finite = finite_rows(rows, nan_strategy)
    rows = rows if finite is None else rows[finite]
    total = empty_moments(rows.shape[1], statistics_device(rows.device))
    height = _tile_rows(rows.shape[1])
    for start in range(0, len(rows), height):
        total = merge_moments(total, _tile_moments(rows[start : start + height], normalize))
    return total


def _tile_rows(width: int) -> int:
    return min(_MAX_TILE_ROWS, max(1, _TILE_ENTRIES // width))


class MomentStream:
    """Compute `moments` of rows that come in blocks: the same numbers, bit by bit, however the rows are cut.

    Args:
        width: D.
        normalize: Divide every row by its length first; a row of zeros stays zero.

    Example:
        >>> stream = MomentStream(2, normalize=False)
        >>> stream.add(torch.tensor([[1.0, 0.0]]))
        >>> stream.add(torch.tensor([[3.0, 0.0]]))
        >>> stream.result().comoment
        tensor([[2., 0.],
                [0., 0.]], dtype=torch.float64)
    """

    def __init__(self, width: int, normalize: bool = True) -> None:
        self._normalize, self._height = normalize, _tile_rows(width)
        self._total = empty_moments(width)
        # one tile for all blocks: many small tensors between large ones would split the heap into holes
        self._tile, self._filled = torch.empty(0, width), 0

    def add(self, rows: Tensor) -> None:
        """Add finite rows ``(B, D)`` on the CPU, any floating dtype."""
        if not len(self._tile):
            self._tile = rows.new_empty(self._height, rows.shape[1])
        self._tile = self._tile.to(torch.promote_types(self._tile.dtype, rows.dtype))
        while len(rows):
            part = rows[: self._height - self._filled]
            self._tile[self._filled : self._filled + len(part)] = part
            self._filled, rows = self._filled + len(part), rows[len(part) :]
            if self._filled == self._height:
                self._total, self._filled = self.result(), 0

    def result(self) -> Moments:
        """Return the moments of all rows so far."""
        rest = self._tile[: self._filled]
        return merge_moments(self._total, _tile_moments(rest, self._normalize)) if len(rest) else self._total


def range_fault(statistics: Moments) -> str:
    """Return what float64 does to the squares of these rows, ``"overflow"`` or ``"vanish in"``; empty if nothing."""
    _, mean, comoment = statistics
    total = comoment.trace()
    if not torch.isfinite(total) or not torch.isfinite(comoment).all():
        return "overflow"
    tiny = torch.finfo(torch.float64).tiny
    return "vanish in" if 0 < mean.abs().amax() < tiny**0.5 and total < tiny else ""


def covariance(statistics: Moments) -> Tensor | None:
    """Return the symmetric covariance ``C / (n - 1)``, ``(D, D)``; None, with one warning, if it is undefined.

    That is: fewer than two rows, no variance beyond rounding (a spread below 64 epsilon of the mean's length), or
    an overflow. So LAPACK never sees a number that is not finite.
    """
    count, mean, comoment = statistics
    if count < 2:
        warn_degenerate(f"A covariance needs at least 2 rows, got {int(count)}")
        return None
    if fault := range_fault(statistics):
        warn_degenerate(f"The sums of squares {fault} float64 (rescale the embeddings)")
        return None
    total = comoment.trace()
    if total <= count * (ROUNDING**2 * (mean * mean).sum()):
        warn_degenerate(f"All {int(count)} rows are equal: there is no variance")
        return None
    return (comoment + comoment.T) / (2.0 * (count - 1.0))
